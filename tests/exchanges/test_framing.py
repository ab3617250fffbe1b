"""Bytes in, messages out, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.framing import FrameReader, Opcode
from livermore.core.errors import RemoteProtocolError


def frame(payload: bytes, opcode: int = 1, *, final: bool = True) -> bytes:
    head = bytes([opcode | (0x80 if final else 0)])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + bytes([126]) + len(payload).to_bytes(2, "big") + payload
    return head + bytes([127]) + len(payload).to_bytes(8, "big") + payload


@given(st.lists(st.tuples(st.sampled_from([1, 2, 9, 10]), st.binary(max_size=300))), st.integers(1, 50))
def test_any_cut_of_the_bytes_gives_the_same_messages(messages, step):
    stream = b"".join(frame(payload, opcode) for opcode, payload in messages)
    reader, got = FrameReader(), []
    for at in range(0, len(stream), step):
        got += reader.feed(stream[at : at + step])
    assert got == messages


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_every_length_form_is_read(size):
    assert FrameReader().feed(frame(b"x" * size)) == [(Opcode.TEXT, b"x" * size)]


def test_a_fragmented_message_is_joined_around_a_ping():
    reader = FrameReader()
    data = frame(b"ab", 1, final=False) + frame(b"!", 9) + frame(b"cd", 0, final=False) + frame(b"ef", 0)
    assert reader.feed(data) == [(Opcode.PING, b"!"), (Opcode.TEXT, b"abcdef")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x85" + b"1234" + b"hello",  # masked
        b"\xc1\x01x",  # reserved bit
        frame(b"x", 0),  # continuation of nothing
        frame(b"x", 1, final=False) + frame(b"y", 1),  # a message inside a message
        b"\x81\x7f" + (2**40).to_bytes(8, "big"),  # absurd length
    ],
)
def test_what_the_protocol_forbids_is_refused(data):
    with pytest.raises(RemoteProtocolError):
        FrameReader().feed(data + b"\x00" * 8)
