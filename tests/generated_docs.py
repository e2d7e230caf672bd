"""Tables in docs/ that the code makes, files that they show, and the AsyncAPI document.

`python -m tests.generated_docs` writes them anew.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # Its stubs are a package of their own.

from api import asyncapi
from config import broker
from config.settings import PREFIX, Settings
from domain.problems import KINDS
from domain.rejections import DETAILS, Code
from ops.stack.folder import CHECKOUT
from storage import faults

_SECTION: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FILE: Final = re.compile(r"(<!-- file: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

_LANGUAGES: Final = {".py": "python", ".mjs": "js", ".sh": "bash"}

_MEANINGS: Final = {
    "23505": "a unique key: decided or opened through another partition meanwhile",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "25P03": "a transaction stood still for too long and was ended",
    "25006": "the database only reads: a standby",
    "55P03": "a lock was not had in time",
    "0A000": "a prepared statement whose tables were migrated since; the connection is given up",
    "26000": "a prepared statement that is gone; the connection is given up",
    "08": "connection",
    "53": "resources: connections, disk, memory",
    "57": "shutdown, cancelled, statement timeout",
    "58": "system error, such as a disk's",
    "28": "password or rights to connect",
    "3D": "the database is not there",
    "42": "rights and tables: the operator's doing, never a message's",
}


_CALLBACKS_HOLD: Final = {
    broker.CALLBACK_EVENTS: "which transactions have something to tell",
    broker.CALLBACK_ENDPOINTS: "which endpoints something is due to",
    broker.CALLBACK_SWEEPS: "that it is time to look for what was forgotten",
}


def _settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{_shown(field.default)}`"
        rows.append((f"`{PREFIX}{name.upper()}`", default, field.description or ""))
    return _table(("variable", "default", "meaning"), rows)


def _shown(default: object) -> str:
    return "not set" if default is None else str(default)


def _faults() -> str:
    states = [*faults._BY_STATE.items(), *faults._BY_CLASS.items()]
    rows = [
        (
            f"`{state}`" if len(state) == 5 else f"`{state}…`",
            _MEANINGS[state],
            fault.name.lower(),
            fault.value,
        )
        for state, fault in states
    ]
    lost, rest = faults.Fault.TRANSIENT, faults.Fault.DETERMINISTIC
    rows.append(("none", "the connection was lost", lost.name.lower(), lost.value))
    rows.append(("any other", "", rest.name.lower(), rest.value))
    return _table(("SQLSTATE", "meaning", "class", "what the worker does"), rows)


def _rejections() -> str:
    rows = [(f"`{code}`", DETAILS[code]) for code in Code]
    return _table(("code", "meaning"), rows)


def _problems() -> str:
    rows = [(str(kind.status), f"`{code}`", kind.title) for code, kind in KINDS.items()]
    return _table(("status", "code", "meaning"), rows)


def _queues() -> str:
    partitions = Settings.model_fields["partitions"].default
    first, last = broker.partition_queue(0), broker.partition_queue(partitions - 1)
    rows = [
        (f"`{first.name}` to `{last.name}`", f"`{first.exchange}`", "instructions of a partition"),
        (
            f"`{broker.DEAD_QUEUE}`",
            f"`{broker.DEAD_EXCHANGE}`",
            "nothing should ever arrive; what does is kept",
        ),
        *(
            (f"`{queue.name}`", f"`{queue.exchange}`", _CALLBACKS_HOLD[queue.name])
            for queue in broker.callback_queues()
        ),
        *(
            (f"`{queue.name}`", f"`{queue.exchange}`", holds)
            for queue, holds in (
                (broker.inbox_queue("<partner>"), "what a partner published"),
                (broker.outbox_queue("<partner>"), "a partner's events"),
            )
        ),
    ]
    return _table(("queue", "exchange", "holds"), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": _settings,
    "faults": _faults,
    "rejections": _rejections,
    "problems": _problems,
    "queues": _queues,
}


def generated(document: str) -> str:
    """The document with each table as the code says now, and each file as it is."""
    document = _SECTION.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", document)
    return _FILE.sub(lambda found: f"{found[1]}{_quoted(found[2])}{found[3]}", document)


def _quoted(name: str) -> str:
    path = CHECKOUT / name
    return f"```{_LANGUAGES[path.suffix]}\n{path.read_text()}```\n"


def documents() -> list[Path]:
    """Every document of ours."""
    return [*CHECKOUT.glob("*.md"), *sorted((CHECKOUT / "docs").rglob("*.md"))]


ASYNCAPI: Final = CHECKOUT / "docs" / "asyncapi.yaml"


class _Plain(yaml.SafeDumper):  # type: ignore[misc]  # As above.
    """YAML without references between its own parts."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def asyncapi_text() -> str:
    """The AsyncAPI document as it is kept: readable, and in the order in which it is made."""
    text: str = yaml.dump(
        asyncapi.document(),
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return f"# Made from the code by `python -m tests.generated_docs`.\n{text}"


if __name__ == "__main__":
    for path in documents():
        path.write_text(generated(path.read_text()))
    ASYNCAPI.write_text(asyncapi_text())
