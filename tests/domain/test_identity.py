"""Names that must never change, because keys never expire."""

from uuid import UUID

from domain import identity
from domain.instructions import DATA
from tests.bookkeeping import transfer


def test_an_instruction_id_is_a_version_8_uuid_that_never_changes():
    name = identity.instruction_id(7, "invoice-4711")

    assert name == "d7b11db0-4a6f-8af9-a51e-e8dca76d294c"
    assert UUID(name).version == 8
    assert UUID(name).variant == "specified in RFC 4122"


def test_a_fingerprint_never_changes():
    data = DATA["transfer"].model_validate(
        {
            "source_wallet_id": "AAAAAAAA-0000-0000-0000-000000000001",
            "destination_wallet_id": "aaaaaaaa-0000-0000-0000-000000000002",
            "amount": 250,
            "currency": "KES",
            "metadata": {"b": "2", "a": "ü"},
            "expires_at": "2026-11-23T13:00:00.5+03:00",
        }
    )

    assert identity.fingerprint("transfer", data.given()) == "cb602918f5d400321f031171d31eefd1"


def test_a_fingerprint_tells_types_apart_but_not_absent_from_null_nor_the_order_of_keys():
    same = {"wallet_id": "aaaaaaaa-0000-0000-0000-000000000001", "amount": 1, "currency": "KES"}
    shuffled = dict(reversed(list(same.items()))) | {"reference": None}
    one, other = (DATA["deposit"].model_validate(d).given() for d in (same, shuffled))

    assert identity.fingerprint("deposit", one) == identity.fingerprint("deposit", other)
    assert identity.fingerprint("deposit", one) != identity.fingerprint("withdrawal", one)


def test_a_partition_never_changes_and_all_are_used():
    keys = [identity.derived_id("wallet", n) for n in range(1000)]

    assert identity.partition_of("aaaaaaaa-0000-0000-0000-000000000001", 8) == 1
    assert {identity.partition_of(key, 8) for key in keys} == set(range(8))


def test_parts_of_a_derived_id_cannot_run_into_each_other():
    assert identity.derived_id("a", "bc") != identity.derived_id("ab", "c")


def test_an_instruction_id_follows_from_client_and_key_alone():
    assert transfer("k", "ann", "ben", 1).id == transfer("k", "cat", "ann", 2).id
    assert transfer("k", "ann", "ben", 1).id != transfer("k", "ann", "ben", 1, client_id=2).id
