"""The demo's parts; `test_demo_command.py` runs it as a whole."""

import csv
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.demo.figures import Latency
from ops.demo.http import Api, Stopped
from ops.demo.replay import INSUFFICIENT, SUCCEEDED, replay
from ops.demo.rows import EXCERPT, Row, read_rows
from ops.errors import OperatorError

HEADER = "type,amount,nameOrig,oldbalanceOrg,nameDest"


def _file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *lines, ""]))
    return path


def test_the_excerpt_is_read_whole_and_says_whose_it_is() -> None:
    rows = read_rows(EXCERPT)

    assert len(rows) == 2000
    assert rows[0] == Row(1, "transfer", 983964, "C1231006815", 17013600, "M1979787155")
    assert "CC BY-SA 4.0" in (EXCERPT.parent / "README.md").read_text()


def test_the_replay_of_the_excerpt_ends_where_paysim_did() -> None:
    expected = replay(read_rows(EXCERPT))
    odd = 0

    with EXCERPT.open() as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            held, amount = Decimal(row["oldbalanceOrg"]), Decimal(row["amount"])
            if row["type"] == "CASH_IN" or amount <= held:
                assert expected.outcomes[number] == SUCCEEDED
                ended = Decimal(row["newbalanceOrig"]) * 100
                # PaySim computed with floats and rounded: it is a cent off here and there.
                odd += abs(expected.balances[row["nameOrig"]] - ended) > 1
            else:
                assert expected.outcomes[number] == INSUFFICIENT
                assert expected.balances[row["nameOrig"]] == held * 100
    # Of 1,164 rows, PaySim's own balances do not follow from their row in these few.
    assert odd == 9


def test_money_between_wallets_is_neither_made_nor_lost_by_the_replay() -> None:
    rows = read_rows(EXCERPT)
    expected = replay(rows)
    done = [row for row in rows if expected.outcomes[row.number] == SUCCEEDED]

    came_in = sum(row.opening_minor for row in rows)
    came_in += sum(row.amount_minor for row in done if row.type == "deposit")
    went_out = sum(row.amount_minor for row in done if row.type == "withdrawal")
    assert sum(expected.balances.values()) == came_in - went_out


def test_an_origin_spends_what_its_earlier_rows_left(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "PAYMENT,60.00,C1,100.00,M1",
        "DEBIT,50.00,C1,0,C9",
        "CASH_IN,10.00,C1,0,C8",
        "CASH_OUT,5E+1,C1,0,C7",
    )

    expected = replay(read_rows(path))

    assert list(expected.outcomes.values()) == [SUCCEEDED, INSUFFICIENT, SUCCEEDED, SUCCEEDED]
    assert expected.balances == {"C1": 0, "M1": 6000, "C7": 5000}


def test_only_so_many_rows_are_read_as_wanted(tmp_path: Path) -> None:
    path = _file(tmp_path, "PAYMENT,1,C1,1,M1", "nonsense")

    assert len(read_rows(path, limit=1)) == 1


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("LOAN,1,C2,1,M1", "row 2 (line 3): type 'LOAN' is none of PAYMENT"),
        ("PAYMENT,ten,C2,1,M1", "row 2 (line 3): amount 'ten' is not a number"),
        ("PAYMENT,NaN,C2,1,M1", "row 2 (line 3): amount 'NaN' is not between"),
        ("PAYMENT,1.005,C2,1,M1", "row 2 (line 3): amount '1.005' has more than two decimals"),
        ("PAYMENT,-1,C2,1,M1", "row 2 (line 3): amount '-1' is not between 0 and"),
        ("PAYMENT,1E+99,C2,1,M1", "row 2 (line 3): amount '1E+99' is not between 0 and"),
        ("PAYMENT,1E+999999999,C2,1,M1", "row 2 (line 3): amount '1E+999999999' is not"),
        (f"PAYMENT,1.{'0' * 30}1,C2,1,M1", "is too long"),
        ("PAYMENT,0,C2,1,M1", "row 2 (line 3): amount is 0"),
        ("PAYMENT,1,C2,-5,M1", "row 2 (line 3): oldbalanceOrg '-5'"),
        ("PAYMENT,1,C2,1", "row 2 (line 3): it has another number of fields"),
        ("PAYMENT,1,C2,1,M1,more", "row 2 (line 3): it has another number of fields"),
        ("PAYMENT,1,,1,M1", "row 2 (line 3): '' is not a name"),
        ("PAYMENT,1,C 2,1,M1", "row 2 (line 3): 'C 2' is not a name"),
        ("PAYMENT,1,C2,1,C2", "row 2 (line 3): C2 is both origin and destination"),
        ("PAYMENT,1,C2,1,C1", "row 2: C1 is a destination here and the origin of row 1"),
        ('PAYMENT,"1"x,C2,1,M1', "row 2: not CSV"),
        ('PAYMENT,"1,C2,1,M1', "row 2: not CSV"),
    ],
)
def test_a_bad_row_is_named(row: str, complaint: str, tmp_path: Path) -> None:
    path = _file(tmp_path, "PAYMENT,1,C1,1,M1", row)

    with pytest.raises(OperatorError) as refusal:
        read_rows(path)

    assert complaint in refusal.value.message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "its first line lacks type, amount"),
        (b"a,b\n1,2\n", "its first line lacks type, amount"),
        (f"{HEADER}\n".encode(), "has no rows"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"type\x00,amount\n", "lacks"),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    content: bytes, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    with pytest.raises(OperatorError) as refusal:
        read_rows(path)

    assert complaint in refusal.value.message


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(OperatorError) as refusal:
            read_rows(path)
        assert "cannot be read" in refusal.value.message


def test_amounts_beyond_what_a_wallet_holds_are_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, *(f"CASH_IN,1E+13,C{n},0,M1" for n in range(10)))

    with pytest.raises(OperatorError) as refusal:
        read_rows(path)

    assert "more than a wallet can hold" in refusal.value.message


def test_percentiles_are_by_nearest_rank() -> None:
    assert Latency.of([]) is None
    assert Latency.of([0.001]) == Latency(1, 1.0, 1.0)
    assert Latency.of([n / 1000 for n in range(1, 101)]) == Latency(100, 51.0, 100.0)


class _Moody(BaseHTTPRequestHandler):
    """Answers 503, then hangs up without an answer, then does what it is asked."""

    protocol_version = "HTTP/1.1"
    keys: list[str | None]
    moods: Iterator[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Idempotency-Key"])
        match next(self.moods):
            case "busy":
                self._answer(503, {"code": "temporarily_unavailable"}, {"Retry-After": "0"})
            case "gone":
                self.close_connection = True
            case "strict":
                self._answer(422, {"code": "invalid_body"})
            case _:
                self._answer(202, {"id": "1"})

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[type[_Moody]]:
    handler = type("Moody", (_Moody,), {"keys": [], "moods": iter(())})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_not_answered_is_sent_again_under_the_same_key(moody: type[_Moody]) -> None:
    moody.moods = iter(["busy", "gone", "well"])
    api = Api(moody.url, "key")  # type: ignore[attr-defined]

    answer = api.post("/v1/transfers", {}, idempotency_key="k1")
    api.close()

    assert answer == {"id": "1"}
    assert moody.keys == ["k1", "k1", "k1"]
    assert api.repeats == 2


def test_a_refusal_is_told_and_never_repeated(moody: type[_Moody]) -> None:
    moody.moods = iter(["strict"])
    api = Api(moody.url, "key")  # type: ignore[attr-defined]

    with pytest.raises(OperatorError) as refusal:
        api.post("/v1/transfers", {}, idempotency_key="k1")
    api.close()

    assert "422 invalid_body" in refusal.value.message


def test_a_demo_that_ends_sends_nothing_more(moody: type[_Moody]) -> None:
    api = Api(moody.url, "key")  # type: ignore[attr-defined]
    api.stop()

    with pytest.raises(Stopped):
        api.post("/v1/transfers", {}, idempotency_key="k1")
    assert moody.keys == []
