"""Who pays whom, and under which keys."""

import random
from collections import Counter
from itertools import islice

from bench.transfers import Transfers, always, uniform, wallet_id, zipf
from domain.identity import partition_of
from domain.instructions import decode, encode


def chance() -> random.Random:
    return random.Random(7)


def test_a_uniform_draw_reaches_every_wallet_about_as_often():
    draw = uniform(10, chance())

    drawn = Counter(draw() for _ in range(10_000))

    assert sorted(drawn) == list(range(10))
    assert max(drawn.values()) < 1.2 * min(drawn.values())


def test_a_zipf_draw_reaches_the_second_wallet_half_as_often_as_the_first():
    draw = zipf(1000, chance())

    drawn = Counter(draw() for _ in range(50_000))

    assert max(drawn) < 1000
    assert 0.45 < drawn[1] / drawn[0] < 0.55
    assert 0.08 < drawn[9] / drawn[0] < 0.12


def test_nobody_pays_themselves_even_if_everybody_pays_one():
    transfers = Transfers(1, 8, chance())
    draw = uniform(3, chance())

    made = transfers.many(200, draw, always(0))

    assert {each.data.destination_wallet_id for each in made} == {wallet_id(0)}
    assert {each.data.source_wallet_id for each in made} == {wallet_id(1), wallet_id(2)}


def test_keys_and_references_have_twenty_characters_and_no_key_is_given_twice():
    transfers = Transfers(1, 8, chance())
    draw = uniform(100, chance())

    made = transfers.many(500, draw, draw)

    assert {len(each.idempotency_key) for each in made} == {20}
    assert {len(each.data.reference or "") for each in made} == {20}
    assert len({each.idempotency_key for each in made}) == 500


def test_transfers_are_what_a_worker_decodes():
    draw = uniform(100, chance())

    made = Transfers(1, 8, chance()).one(draw, draw)

    assert decode(encode(made)) == made


def test_an_id_is_known_before_the_clock_runs_as_a_worker_knows_it_from_reading():
    draw = uniform(100, chance())

    made = Transfers(1, 8, chance()).one(draw, draw)

    assert "id" in vars(made)


def test_a_batch_is_full_and_of_one_partition():
    draw = uniform(1000, chance())

    batches = list(islice(Transfers(1, 8, chance()).batches(20, draw, draw), 12))

    for partition, batch in batches:
        assert len(batch) == 20
        assert {partition_of(each.partition_key, 8) for each in batch} == {partition}
