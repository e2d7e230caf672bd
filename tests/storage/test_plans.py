"""Plans stay on indexes at a million wallets, whatever the statistics say."""

import re
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, TextClause, text

from config.settings import Settings
from domain.identity import derived_id
from ops.stack.services import Services
from storage import books as statements
from storage import delivering, events, feed, inbox, reads
from storage.arrays import array, text_array
from storage.engine import callbacks_engine, ledger_engine, operator_engine, read_engine
from storage.ledger import TAKE_PARTITION
from storage.prepared import Prepared
from tests.support import fresh_database

IDS = array(derived_id("plan", n) for n in range(1000))
NUMBERS = array(range(1000))
PLACES = text_array(f"(0,{n})" for n in range(1000))

Statement = TextClause | Prepared

LEDGER: dict[str, tuple[Statement, dict[str, object]]] = {
    "lock wallets": (statements.LOCK_WALLETS, {"ids": IDS}),
    "known outcomes": (statements.KNOWN_OUTCOMES, {"ids": IDS}),
    "known customers": (statements.KNOWN_CUSTOMERS, {"ids": IDS}),
    "move wallets": (
        statements.MOVE_WALLETS,
        {
            "places": PLACES,
            "seqs_before": NUMBERS,
            "balances": NUMBERS,
            "seqs": NUMBERS,
            "partition": 1,
            "position": 1,
        },
    ),
    "decided keys of a partner": (inbox.DECIDED, {"ids": IDS, "client_id": 1}),
    "take partition": (TAKE_PARTITION, {"space": 1, "partition": 1}),
    "tell": (
        events.WRITE,
        {"at": "now", "client_ids": "{1}", "instruction_ids": '{"{}"}', "shows": '{""}'},
    ),
}

ONE = derived_id("plan", 1)
READS: dict[str, tuple[Statement, dict[str, object]]] = {
    "instruction": (reads.INSTRUCTION, {"id": ONE, "client_id": 1}),
    "wallet": (reads.WALLET, {"id": ONE, "client_id": 1}),
    "wallets of a customer": (
        reads.WALLETS_OF_CUSTOMER,
        {"customer_id": ONE, "client_id": 1, "after": None, "limit": 50},
    ),
    "customer": (reads.CUSTOMER, {"id": ONE, "client_id": 1}),
    "customers by legacy id": (
        reads.CUSTOMERS_BY_LEGACY_ID,
        {"client_id": 1, "legacy_id": "x", "after": None, "limit": 50},
    ),
    "entries": (reads.ENTRIES_NEWEST_FIRST, {"wallet_id": ONE, "bound": 10**9, "limit": 50}),
    "a page of events": (
        feed.SCAN,
        {"client_id": 1, "xact": 7, "at": "2026-11-24", "complete": 10**9, "rows": 51},
    ),
    "events at their places": (
        events.FIND,
        {"client_id": 1, "ats": "{2026-11-24}", "xacts": "{1}", "ordinals": "{0}"},
    ),
    "instructions of events": (events.INSTRUCTIONS, {"client_id": 1, "ids": IDS}),
    "catching up": (reads.ENTRIES_OLDEST_FIRST, {"wallet_id": ONE, "bound": 0, "limit": 50}),
}

# What the planner believes of each table's size, against a real million: nothing at all, as
# after a restore, or far too little, as after a night of openings.
BELIEFS = {
    "never analysed": "UPDATE pg_class SET reltuples = -1, relpages = 0",
    "believed empty": "UPDATE pg_class SET reltuples = 0, relpages = 1",
    "believed dense": "UPDATE pg_class SET reltuples = 1000000, relpages = 10",
    "analysed": None,
}
TABLES = "^(wallets|instructions|customers|grants|partitions|openings|events.*)$"
CONDITIONS = {"Index Cond", "Recheck Cond", "TID Cond"}
LARGE = re.compile(r"wallets|instructions|customers|events_\d{8}")
SMALL = ("take partition", "tell")

A_MILLION_WALLETS = """
    INSERT INTO customers (id, client_id, name, country, created_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 1, 'all of them', 'KE', now());
    ALTER TABLE wallets DISABLE TRIGGER ALL;
    INSERT INTO wallets (balance, seq, floor, opened_at, id, customer_id, client_id, currency)
    SELECT 0, 0, 0, now(), CAST(lpad(to_hex(n), 32, '0') AS uuid),
           '00000000-0000-0000-0000-000000000001', 1, 'KES'
    FROM generate_series(1, 1000000) AS n;
    ALTER TABLE wallets ENABLE TRIGGER ALL;
"""
MANY_EVENTS = """
    INSERT INTO events (at, xact, client_id, pending, instruction_ids, shows)
    SELECT now() + n % 5 * interval '1 day', n, 1, false, ARRAY[gen_random_uuid()], '\\x01'
    FROM generate_series(1, 100000) AS n
"""


def nodes(plan: dict[str, object]) -> list[dict[str, object]]:
    found = [plan]
    children = plan.get("Plans", [])
    assert isinstance(children, list)
    for child in children:
        found += nodes(child)
    return found


def searches(engine: Engine, statement: Statement, named: dict[str, object]) -> list[str]:
    """The scans of large tables, each with whether it names the rows it wants."""
    with engine.connect() as connection:
        if isinstance(statement, Prepared):
            statement.prepare(connection)
            explained = f"EXPLAIN (FORMAT JSON) {statement.execution}"
            (plan,) = connection.exec_driver_sql(explained, named).scalar_one()
        else:
            (plan,) = connection.scalar(text(f"EXPLAIN (FORMAT JSON) {statement.text}"), named)
    return [
        f"{node['Node Type']} on {node['Relation Name']}: "
        + ("by condition" if CONDITIONS & node.keys() else "WHOLE")
        for node in nodes(plan["Plan"])
        if LARGE.fullmatch(str(node.get("Relation Name"))) and "Scan" in str(node["Node Type"])
    ]


@pytest.fixture(scope="module")
def million(services: Services) -> Iterator[Settings]:
    settings = fresh_database(services)
    engine = operator_engine(settings)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO clients (name, scopes) VALUES ('acme', '{}')"))
        connection.execute(text(A_MILLION_WALLETS))
        connection.execute(text(MANY_EVENTS))
    yield settings
    engine.dispose()


def believe(settings: Settings, belief: str) -> None:
    operator = operator_engine(settings)
    with operator.begin() as connection:
        connection.execute(text("ANALYZE wallets, instructions, customers, events"))
        if BELIEFS[belief] is not None:
            connection.execute(text(f"{BELIEFS[belief]} WHERE relname ~ '{TABLES}'"))
    operator.dispose()


@pytest.mark.parametrize("belief", BELIEFS)
@pytest.mark.parametrize(("make", "queries"), [(ledger_engine, LEDGER), (read_engine, READS)])
def test_no_statement_reads_a_whole_table(
    million: Settings,
    make: Callable[[Settings], Engine],
    queries: dict[str, tuple[Statement, dict[str, object]]],
    belief: str,
):
    believe(million, belief)
    engine = make(million)

    for name, (statement, named) in queries.items():
        found = searches(engine, statement, named)
        assert found or name in SMALL, name
        assert not [search for search in found if search.endswith("WHOLE")], (name, found)
    engine.dispose()


@pytest.mark.parametrize("belief", BELIEFS)
def test_a_page_of_events_reads_a_page_whatever_lies_before_and_behind_it(
    million: Settings, belief: str
):
    believe(million, belief)
    engine = read_engine(million)
    statement, named = READS["a page of events"]
    assert isinstance(statement, TextClause)

    with engine.connect() as connection:
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
        (plan,) = connection.scalar(explain, {**named, "xact": 50_000})
    engine.dispose()

    scans = [node for node in nodes(plan["Plan"]) if "Scan" in str(node["Node Type"])]
    assert sum(int(str(node["Actual Rows"])) for node in scans) <= 51 + len(scans)


DELIVERIES = """
    INSERT INTO deliveries
        (event_at, next_attempt_at, xact, ordinal, endpoint_id, event_id, event_type)
    SELECT date_trunc('day', now()) + make_interval(secs => :second + n / 1000.0), now(), 1, 1,
           :endpoint_id, CAST(md5(:second || ' ' || n) AS uuid), 'instruction.succeeded'
    FROM generate_series(1, :count) AS n
"""
ATTEMPTED = text("""
    SELECT array_agg(event_at)::text, array_agg(event_id)::text, min(event_at), max(event_at)
    FROM (SELECT * FROM deliveries ORDER BY event_at DESC LIMIT 500) AS last
""")


@pytest.mark.parametrize("before", [5_000, 100_000])
def test_attempts_are_noted_by_one_look_for_each_though_their_rows_are_new(
    services: Services, before: int
):
    settings = fresh_database(services)
    engine = callbacks_engine(settings)
    with engine.begin() as connection:
        named = {"endpoint_id": ONE, "second": 0, "count": before}
        connection.execute(text(DELIVERIES), named)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE deliveries"))
        # The statistics know nothing of these, and believe that none is so young.
        connection.execute(text(DELIVERIES), {**named, "second": 3600, "count": 3000})
        ats, ids, first, last = connection.execute(ATTEMPTED).one()
        tried = {"event_ats": ats, "event_ids": ids, "first": first, "last": last}
        tried |= {"statuses": array(500 * ["delivered"]), "waits_s": array(500 * [0])}
        tried["attempts"] = text_array(500 * ["{}"])
        noted = {"health": "well", "probe_wait_s": 0, "gone": False, "gone_reason": ""}
        lease = {"id": ONE, "leased_until": first, "release": True, "lease_s": 1}
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {delivering.MARK.text}")
        (plan,) = connection.scalar(explain, {**tried, **noted, **lease})
    engine.dispose()

    looks = [node for node in nodes(plan["Plan"]) if "deliveries" in str(node.get("Index Name"))]
    assert [look["Actual Loops"] for look in looks] == [500]
    assert "event_id" in str(looks[0]["Index Cond"])
