"""The contract suite: every registered venue must keep every rule; a venue without fixtures fails.

- C00 it has fixtures, and its `VENUE` carries the name it is registered by
- C01 frames map to the expected trades; unknown natives are counted and skipped
- C02 mapping is pure: the same frames give the same trades, together or one by one
- C03 the side is the taker's
- C04 control frames map to nothing
- C05 a malformed frame is set aside with a reason, whatever it holds; nothing raises, nothing stays in memory
- C06 the session subscribes at once, within the pace, to each symbol once
- C07 a refused subscription, and one that nobody answers, is noticed
- C08 silence leads to `Close`
- C09 a connection asks to be replaced before its lifetime ends
- C10 trade ids obey the declared `TradeIds`

A run ends with the table of venues and rules (see `conftest.py`); its last column, recordings, are the tests of
`test_recordings.py` and its like against what the venue really sent.

A fixture folder `fixtures/<slug>/` (for a venue of another package, its own folder `fixtures`) holds, in the
shapes of the venue's own documentation:

- `frames.jsonl`: one `{"frame": text}` or `{"b64": bytes}` a line;
- `expected.json`: the book, the trades `[frame, symbol, time_ns, id, executions, price, quantity, is_buy]`,
  which frames are rejected, which are silent (no trades, nothing wrong), the unknown natives, for each
  side of the taker a frame with the venue's words for it, and the `greeting` of a venue that speaks first;
- `control.jsonl`: one conversation a line (see `conversation.py`), each naming the rule it proves.
"""

from __future__ import annotations

import base64
import gc
import json
import random
import tracemalloc
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exchanges.registry import slugs, venue
from exchanges.venue import Close, Mapped, Ready, Session, TradeIds
from livermore.core.errors import RemoteProtocolError
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Nanos, Trade
from tests.venues.conversation import LIMITS, START_NS, Player, play

FIXTURES = Path(__file__).parent / "fixtures"
FUZZED_FRAMES, FUZZED_AT_ONCE = 100_000, 5_000
FUZZED_MAY_KEEP_BYTES = 20 * FUZZED_AT_ONCE
"""Of a batch, once the caches of known size are full: the smallest object there is, one a frame, has 28 bytes."""

pytestmark = pytest.mark.parametrize("slug", slugs())


@cache
def fixtures(slug: str) -> Path:
    """The folder here, or beside the modules of a package that brings its own."""
    its_own = Path(str(files(venue(slug).session.__module__.rpartition(".")[0]))) / "fixtures"
    return its_own if its_own.is_dir() and not (FIXTURES / slug).is_dir() else FIXTURES / slug


@cache
def frames(slug: str) -> tuple[bytes, ...]:
    rows = [json.loads(line) for line in (fixtures(slug) / "frames.jsonl").read_text("utf-8").splitlines()]
    return tuple(base64.b64decode(r["b64"]) if "b64" in r else r["frame"].encode() for r in rows)


@cache
def expected(slug: str) -> dict[str, Any]:
    return json.loads((fixtures(slug) / "expected.json").read_text("utf-8"))


@cache
def conversations(slug: str) -> tuple[dict[str, Any], ...]:
    lines = (fixtures(slug) / "control.jsonl").read_text("utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def book(slug: str) -> SymbolBook:
    return SymbolBook(slug, expected(slug)["book"], 1)


def player(slug: str, natives: Collection[str]) -> Player:
    return Player(venue(slug).session(LIMITS, natives), greeting=expected(slug).get("greeting"))


def mapped(slug: str, *only: bytes) -> Mapped:
    return venue(slug).mapper(only or frames(slug), book(slug))


def test_c00_a_venue_has_fixtures(slug: str) -> None:
    for name in ("frames.jsonl", "control.jsonl", "expected.json"):
        assert (fixtures(slug) / name).is_file(), f"{slug} needs fixtures/{slug}/{name}"


def test_c00_a_venue_carries_the_name_it_is_registered_by(slug: str) -> None:
    assert venue(slug).slug == slug


def test_c01_frames_map_to_the_expected_trades(slug: str) -> None:
    assert [list(t) for t in mapped(slug).trades] == [row[1:] for row in expected(slug)["trades"]]
    assert all(type(t) is Trade for t in mapped(slug).trades)


def test_c01_unknown_natives_are_counted_and_skipped(slug: str) -> None:
    assert dict(mapped(slug).unknown) == expected(slug)["unknown"]


def test_c02_mapping_is_pure(slug: str) -> None:
    assert mapped(slug) == mapped(slug)


def test_c02_a_batch_maps_as_its_frames_one_by_one(slug: str) -> None:
    single = [mapped(slug, frame) for frame in frames(slug)]
    assert [t for m in single for t in m.trades] == mapped(slug).trades
    assert [i for i, m in enumerate(single) if m.rejected] == [i for i, _ in mapped(slug).rejected]


def test_c03_the_side_is_the_takers(slug: str) -> None:
    takers = set()
    for case in expected(slug)["sides"]:
        frame = frames(slug)[case["frame"]]
        assert case["evidence"].encode() in frame
        assert mapped(slug, frame).trades[0].is_buy is (case["taker"] == "buy")
        takers.add(case["taker"])
    assert takers == {"buy", "sell"}


def test_c04_control_frames_map_to_nothing(slug: str) -> None:
    assert expected(slug)["silent"]
    for index in expected(slug)["silent"]:
        assert mapped(slug, frames(slug)[index]) == Mapped(), frames(slug)[index]


def test_c05_malformed_frames_are_set_aside_with_a_reason(slug: str) -> None:
    rejected = mapped(slug).rejected
    assert [index for index, _ in rejected] == expected(slug)["rejected"]
    assert all(0 < len(why) <= 120 for _, why in rejected)


def test_c05_no_fuzzed_frame_raises_or_stays_in_memory(slug: str) -> None:
    dice = random.Random(slug)
    talk = venue(slug).session(LIMITS, list(book(slug).names))
    rejected = 0
    for _ in range(FUZZED_FRAMES // FUZZED_AT_ONCE - 1):
        rejected += _survived(slug, talk, [_fuzzed(dice, slug) for _ in range(FUZZED_AT_ONCE)])
    assert rejected > FUZZED_FRAMES // 5
    last = [_fuzzed(dice, slug) for _ in range(FUZZED_AT_ONCE)]
    gc.collect()
    tracemalloc.start()  # only now: it makes everything four times as slow
    try:
        _survived(slug, talk, last)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < FUZZED_MAY_KEEP_BYTES


def _survived(slug: str, talk: Session, batch: list[bytes]) -> int:
    """How many frames the mapper set aside, each once; what it took is whole. The session may only say
    that the venue broke its protocol."""
    result = venue(slug).mapper(batch, book(slug))
    assert len({index for index, _ in result.rejected}) == len(result.rejected)
    for trade in result.trades:
        assert trade.symbol in book(slug).names.values()
        assert (type(trade.time_ns), type(trade.executions)) == (int, int)
        assert 0 < trade.time_ns < 2**63
        assert trade.executions >= 1
        assert (type(trade.price), type(trade.quantity), type(trade.is_buy)) == (str, str, bool)
    for frame in batch:
        with suppress(RemoteProtocolError):
            talk.received(frame, Nanos(START_NS))
    return len(result.rejected)




def test_c05_one_bad_frame_does_not_hurt_its_neighbours(slug: str) -> None:
    index = expected(slug)["trades"][0][0]
    good = frames(slug)[index]
    result = mapped(slug, good, b"\x00\xff junk", good)
    assert result.trades == mapped(slug, good).trades * 2
    assert [i for i, _ in result.rejected] == [1]


@pytest.mark.parametrize("rule", ["C06", "C07", "C08", "C09"])
def test_c06_to_c09_conversations_go_as_documented(slug: str, rule: str) -> None:
    scripts = [s for s in conversations(slug) if s["rule"] == rule]
    assert scripts, f"fixtures/{slug}/control.jsonl has no conversation for {rule}"
    for script in scripts:
        for where, wanted, happened in play(script, venue(slug).session):
            assert happened == wanted, f"{script['about']}: {where}"


def test_c06_many_subscriptions_stay_within_the_pace(slug: str) -> None:
    natives = [f"COIN{n}-USD" for n in range(450)]
    talk = player(slug, natives)
    talk.open()
    talk.advance_to(4)
    sends = list(talk.sends())
    assert sends[0][0] == 0, "the first word is due at once"
    for at, _ in sends:
        within = [a for a, _ in sends if at <= a < at + 1]
        assert len(within) < LIMITS.messages_per_second, "leave room for pongs"
    said = json.dumps([message for _, message in sends]).lower()
    assert all(said.count(n.lower()) == 1 for n in natives)


def test_c06_nothing_wanted_is_no_mistake(slug: str) -> None:
    talk = player(slug, ())
    talk.open()
    talk.advance_to(1)
    assert not talk.has(Close)


def test_c08_silence_leads_to_close(slug: str) -> None:
    talk = player(slug, ["BTC-USD"])
    talk.open()
    talk.advance_to(LIMITS.silence_s + 1)
    assert talk.has(Close)
    assert not talk.has(Ready)


def test_c09_a_conversation_shows_the_rotation_before_the_lifetime_ends(slug: str) -> None:
    scripts = [s for s in conversations(slug) if "connection_lifetime_s" in s.get("limits", {})]
    assert scripts, f"fixtures/{slug}/control.jsonl has no conversation with a connection_lifetime_s"
    for script in scripts:
        moment = next(step["at"] for step in script["steps"] if "rotate" in step.get("expect", ()))
        assert moment < script["limits"]["connection_lifetime_s"]


def test_c10_ids_obey_what_is_declared(slug: str) -> None:
    declared = venue(slug).trade_ids
    by_symbol: dict[str, list[Trade]] = {}
    for trade in mapped(slug).trades:
        by_symbol.setdefault(trade.symbol, []).append(trade)
    assert max(map(len, by_symbol.values())) > 3
    for trades in by_symbol.values():
        if declared in (TradeIds.CONSECUTIVE, TradeIds.ORDERED):
            trades.sort(key=lambda t: t.id)
            assert all(isinstance(t.id, int) for t in trades)
        for one, next_one in pairwise(trades):
            if declared is TradeIds.CONSECUTIVE:
                assert next_one.id == one.id + one.executions
            elif declared is not TradeIds.ABSENT:
                assert next_one.id != one.id


def _fuzzed(dice: random.Random, slug: str) -> bytes:
    """One in ten is noise from the first byte on."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(200))
    return _mangled(dice, dice.choice(frames(slug)))


def _mangled(dice: random.Random, frame: bytes) -> bytes:
    """A few random edits: cut, flip, insert, delete, duplicate, swap in hostile tokens."""
    noise = bytearray(frame)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(noise) + 1)
        match dice.randrange(6):
            case 0:
                del noise[at:]
            case 1 if at < len(noise):
                noise[at] = dice.randrange(256)
            case 2:
                noise[at:at] = dice.choice(_HOSTILE)
            case 3:
                del noise[at : at + dice.randint(1, 12)]
            case 4:
                noise[at:at] = noise[max(0, at - 20) : at]
            case _:
                digit = dice.choice([b"0", b"9" * 25, b"-1", b"1e400", b"NaN", b"null", b'"'])
                noise = bytearray(bytes(noise).replace(str(dice.randrange(10)).encode(), digit, 1))
    return bytes(noise)


_HOSTILE = (
    b"\n",
    b"\x00",
    b"\xff\xfe",
    b'"\\ud800"',
    b"[" * 3000,
    b'{"a":' * 400,
    b"Infinity",
    "٣".encode(),
    b"9" * 5000,
    b'"' + b"9" * 5000 + b'"',
)
