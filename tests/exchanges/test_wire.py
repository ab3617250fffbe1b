"""A batch survives the trip byte for byte, or is refused politely."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges import wire
from livermore.core.errors import FrameRejected
from livermore.core.frame import FrameBatch


def batch(frames):
    return FrameBatch("venue", "c1", 7, 2, tuple(frames), ((len(frames), 1_770_000_000_000_000_000),))


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_frames_arrive_byte_for_byte(frames):
    body = msgpack.unpackb(msgpack.packb(wire.pack(batch(frames))))
    assert wire.unpack(body) == batch(frames)


def test_frames_with_newlines_are_not_split():
    assert wire.unpack(wire.pack(batch([b'{\n"a":1}', b"", b"x"]))).frames == (b'{\n"a":1}', b"", b"x")


@pytest.mark.parametrize(
    "damage", [{"v": 2}, {"v": None}, {"frames": b"nonsense"}, {"frames": None}, {"arrivals": 3}, {"lengths": "x"}]
)
def test_another_version_or_damage_is_refused(damage):
    with pytest.raises(FrameRejected):
        wire.unpack({**wire.pack(batch([b"a"])), **damage})


def test_similar_frames_shrink_to_a_quarter():
    frames = [b'{"stream":"btcusdt@aggTrade","data":{"p":"64000.%05d","q":"0.001%03d"}}' % (i, i) for i in range(500)]
    assert len(wire.pack(batch(frames))["frames"]) < sum(map(len, frames)) / 4
