"""AMQP frames are followed whatever the pieces that they come in."""

from struct import pack

from bench.torture.frames import BASIC_ACK, BASIC_DELIVER, Frames, unknown_ack


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


STREAM = (
    frame(1, 3, BASIC_DELIVER + b"arguments")
    + frame(2, 3, bytes(20))
    + frame(3, 3, b"a body with \xce in it")
    + frame(8, 0, b"")
    + frame(1, 4, BASIC_ACK + bytes(9))
)


def test_methods_are_found_in_pieces_of_any_size() -> None:
    for size in range(1, len(STREAM) + 1):
        frames = Frames(from_client=False)
        found = []
        for at in range(0, len(STREAM), size):
            found += frames.feed(STREAM[at : at + size])

        assert [(each.channel, each.id) for each in found] == [(3, BASIC_DELIVER), (4, BASIC_ACK)]
        assert frames.between


def test_a_client_begins_with_what_is_no_frame() -> None:
    frames = Frames(from_client=True)

    assert frames.feed(b"AMQP\x00\x00\x09") == []
    assert not frames.between
    assert frames.feed(b"\x01" + unknown_ack(2))[0].channel == 2
    assert frames.between


def test_within_a_frame_nothing_may_be_put_in() -> None:
    frames = Frames(from_client=False)
    frames.feed(STREAM[:5])

    assert not frames.between
