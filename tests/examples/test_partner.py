"""The examples for partners, each run as a partner would: with a URL and nothing else of ours."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ops.errors import OperatorError
from ops.node import NODE, installed
from ops.stack.folder import CHECKOUT
from ops.stack.install import install_packages
from ops.stack.services import Services
from tests import asyncapi
from tests.partners.house import Bank, PartnerHouse

EXAMPLES = CHECKOUT / "examples" / "partner"

ANNA = {"name": "Anna", "phone": "+254700000001", "country": "KE", "currencies": ["KES"]}


class Run(NamedTuple):
    """What an example left behind."""

    code: int
    events: list[tuple[str, dict[str, Any]]]

    def of(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        """Events of one instruction."""
        return [each for each in self.events if each[1].get("idempotency_key") == key]


@pytest.fixture(scope="module")
def house(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerHouse]:
    made = PartnerHouse(services, tmp_path_factory.mktemp("house"))
    try:
        for worker in (made.inbox(), made.worker(), made.callbacks()):
            worker.ready()
        yield made
    finally:
        made.close()


def python(folder: Path) -> list[str]:
    """Two files in a folder, as the page says, and a Python that has pika."""
    shutil.copy(EXAMPLES / "instruct.py", folder)
    shutil.copy(CHECKOUT / "producers" / "partner.py", folder)
    return [sys.executable, str(folder / "instruct.py")]


def node(folder: Path) -> list[str]:
    return [NODE, str(installed(EXAMPLES / "node") / "instruct.mjs")]


def shell(folder: Path) -> list[str]:
    """Its tools are installed if we may; else it is skipped with the line to run."""
    if not (shutil.which("amqp-consume") and shutil.which("jq")):
        try:
            install_packages("amqp-tools", "jq")
        except OperatorError as error:
            pytest.skip(error.format_message())
    return [str(EXAMPLES / "instruct.sh")]


@pytest.mark.parametrize("command", [python, node, shell], ids=lambda each: each.__name__)
def test_from_zero_to_an_outcome(
    house: PartnerHouse, tmp_path: Path, command: Callable[[Path], list[str]]
) -> None:
    words = command(tmp_path)
    bank = house.partner()
    customer, deposit, wrong = (f"{kind}-{uuid.uuid4()}" for kind in ("open", "pay", "wrong"))

    opened = run(words, bank, tmp_path, "customer.open", customer, ANNA)
    [(receipt, _), (outcome, told)] = opened.of(customer)
    assert (opened.code, receipt, outcome) == (
        0,
        "instruction.accepted",
        "instruction.succeeded",
    )
    [wallet] = told["result"]["wallets"]
    money = {"wallet_id": wallet["wallet_id"], "amount": 25_000, "currency": "KES"}

    paid = run(words, bank, tmp_path, "deposit", deposit, money)
    [(_, _), (outcome, told)] = paid.of(deposit)
    assert (paid.code, outcome) == (0, "instruction.succeeded")
    assert [entry["balance"] for entry in told["result"]["entries"]] == [25_000]

    again = run(words, bank, tmp_path, "deposit", deposit, money)
    assert again.code == 0
    assert again.of(deposit)[-1] == (outcome, told)

    refused = run(words, bank, tmp_path, "deposit", wrong, {**money, "amount": 0})
    [(kind, why)] = refused.of(wrong)
    assert (refused.code, kind) == (1, "instruction.refused")
    assert why["problem"]["code"] == "invalid_body"
    assert why["problem"]["errors"][0]["pointer"] == "/data/amount"
    house.assert_books_whole()


def run(
    words: list[str], bank: Bank, folder: Path, instruction_type: str, key: str, data: object
) -> Run:
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [*words, instruction_type, key, json.dumps(data)],
        cwd=folder,
        env=inherited | {"BROKER_URL": bank.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert "Error" not in done.stderr, done.stderr
    lines = (line.split(" ", 1) for line in done.stdout.splitlines())
    events = [(kind, json.loads(told)) for kind, told in lines]
    for kind, told in events:
        asyncapi.check_data(kind, told)
    return Run(done.returncode, events)


def test_locks_name_versions_and_hashes_and_no_registry() -> None:
    for lock in (CHECKOUT / "tools" / "asyncapi", EXAMPLES / "node"):
        packages = json.loads((lock / "package-lock.json").read_text())["packages"]
        del packages[""]
        assert packages
        for package in packages.values():
            assert "resolved" not in package
            assert package["integrity"].startswith("sha512-")
