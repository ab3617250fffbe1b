"""Times and ids at the mappers' border."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.binance.mapper import map_frames as map_binance
from exchanges.coinbase.mapper import nanoseconds
from exchanges.registry import venue
from livermore.core.symbol import SymbolBook

BOOK = SymbolBook("x", {"BTCUSDT": "BTC-USDT"})


def aggregate(**fields: object) -> bytes:
    stated = {"f": 5, "l": 5, "T": 1_790_000_000_000} | fields
    numbers = ",".join(f'"{name}":{value}' for name, value in stated.items())
    return f'{{"data":{{"e":"aggTrade","s":"BTCUSDT","p":"1","q":"2",{numbers},"m":true}}}}'.encode()


@given(st.datetimes(datetime(1970, 1, 1), datetime(2261, 12, 31)), st.integers(0, 999), st.integers(0, 9))
def test_rfc3339_is_read_to_the_nanosecond(moment: datetime, below_us: int, decimals: int) -> None:
    digits = f"{moment.microsecond:06d}{below_us:03d}"[:decimals]
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + digits if digits else ''}Z"
    seconds = (moment.replace(tzinfo=UTC, microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert nanoseconds(text) == int(seconds) * 10**9 + int(digits.ljust(9, "0"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-10-03",
        "2026-10-03T11:20:04",
        "2026-10-03T11:20:04+00:00",
        "2026-10-03 11:20:04Z",
        "2026-10-03T11:20:04,5Z",
        "2026-10-03T11:20:04.5z",
        "2026-10-03T11:20: 4Z",
        "2026-10-03T11:20:+4Z",
        "2026-10-03T11:20:04.1_2Z",
        "2026-10-03T11:20:04.-12Z",
        "2026-10-03T24:20:04Z",
        "2026-13-03T11:20:04Z",
        "2300-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        nanoseconds(text)


@given(st.integers(1, (2**63 - 1) // 1000))
def test_binance_times_are_told_apart_by_magnitude(said: int) -> None:
    (trade,) = map_binance([aggregate(T=said)], BOOK).trades
    is_ms = said < (2**63 - 1) // 10**6
    assert trade.time_ns == said * (10**6 if is_ms else 10**3) < 2**63


@pytest.mark.parametrize(
    ("fields", "is_taken"),
    [
        ({"f": 5, "l": 5}, True),
        ({"f": 0, "l": 999_999}, True),
        ({"f": 0, "l": 1_000_000}, False),
        ({"f": 6, "l": 5}, False),
        ({"f": -1, "l": -1}, False),
        ({"f": 2**63, "l": 2**63}, False),
        ({"T": 0}, False),
        ({"T": -5}, False),
        ({"T": 2**63}, False),
        ({"T": "1.5"}, False),
    ],
)
def test_binance_ids_and_times_that_cannot_be_are_set_aside(fields: dict[str, object], is_taken: bool) -> None:
    mapped = map_binance([aggregate(**fields)], BOOK)
    assert (len(mapped.trades), len(mapped.rejected)) == ((1, 0) if is_taken else (0, 1))


def first_frame(slug: str) -> Any:
    line = (Path(__file__).parent / "fixtures" / slug / "frames.jsonl").read_text("utf-8").splitlines()[0]
    return json.loads(json.loads(line)["frame"])


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """A JSON value's objects, outermost first."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


@pytest.mark.parametrize(
    ("slug", "field"),
    [
        *(("binance", name) for name in ("data", "e", "s", "p", "q", "f", "l", "T", "m")),
        *(("kucoin", name) for name in ("subject", "data", "symbol", "sequence", "side", "price", "size", "time")),
        *(("coinbase", name) for name in ("channel", "events", "trades", "product_id", "trade_id", "price", "size")),
        *(("coinbase", name) for name in ("time", "side")),
    ],
)
def test_a_field_that_was_renamed_is_named(slug: str, field: str) -> None:
    frame = first_frame(slug)
    holder = next(one for one in objects(frame) if field in one)
    holder[f"{field}_new"] = holder.pop(field)
    mapped = venue(slug).mapper([json.dumps(frame).encode()], SymbolBook(slug))
    assert mapped.trades == []
    assert [f"`{field}`" in why for _, why in mapped.rejected] == [True], mapped.rejected
