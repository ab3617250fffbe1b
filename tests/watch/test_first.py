"""Who moved first: counted only where it is sure, told only where there is enough of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from livermore.watch import first
from livermore.watch.first import ENOUGH, Lead, Move, Point

START_MS = 1_790_000_000_000
A, B, C = "coinbase", "binance", "kucoin"


def track(*steps: tuple[float, float], seconds: int = 300, price: float = 100.0) -> list[Point]:
    """A price every second; each step moves it by so many bps at so many seconds."""
    points = []
    for second in range(seconds):
        level = price * (1 + sum(bps for at_s, bps in steps if at_s <= second + 0.9) / 1e4)
        points.append(Point(START_MS + second * 1000, START_MS + second * 1000 + 900, level))
    return points


def found(tracks: Mapping[str, list[Point]]) -> list[Move]:
    return first.moves(tracks, START_MS + 120_000, START_MS + 240_000)


def test_a_move_begins_where_the_first_got_there_and_tells_when_each_did() -> None:
    (move,) = found({A: track((150, 25)), B: track((153, 25), price=99.0), C: track()})
    assert move.is_up
    assert move.at_ms == START_MS + 150_900
    assert move.reached == {A: (START_MS + 150_000, START_MS + 150_900), B: (START_MS + 153_000, START_MS + 153_900)}


@pytest.mark.parametrize(
    ("why", "tracks"),
    [
        ("too small", {A: track((150, 19)), B: track((151, 19))}),
        ("too slow", {A: track((130, 12), (195, 12)), B: track((130, 12), (195, 12))}),
        ("nobody followed", {A: track((150, 30)), B: track((182, 30))}),
        ("the other went the other way", {A: track((150, 30)), B: track((151, -30))}),
        ("outside what is asked for", {A: track((100, 30)), B: track((101, 30))}),
        ("no price of a minute before", {A: track((50, 30), seconds=60), B: track((51, 30), seconds=60)}),
    ],
)
def test_what_is_no_common_move(why: str, tracks: dict[str, list[Point]]) -> None:
    assert found(tracks) == [], why


def test_one_long_trend_is_one_move_and_one_after_a_pause_is_another() -> None:
    trend = tuple((second, 3.0) for second in range(125, 160))
    assert len(found({A: track(*trend), B: track(*trend)})) == 1
    twice = ((125, 30), (235, -30))
    assert [move.is_up for move in found({A: track(*twice), B: track(*twice)})] == [True, False]


def moves(count: int, lead_ms: int, *, age_ms: Mapping[str, float | None], doubt_ms: float | None = 10.0) -> list[Move]:
    """A before B by so much, again and again."""
    reached = {A: (0, 100), B: (lead_ms, lead_ms + 100)}
    return [Move(0, True, reached, age_ms, dict.fromkeys(reached, doubt_ms)) for _ in range(count)]


def test_a_lead_within_the_clocks_doubt_is_a_tie() -> None:
    near = {A: 50.0, B: 50.0}
    assert first.leads(moves(20, 300, age_ms=near), by_arrival=False)[A, B] == Lead(20, 0, 0)
    assert first.leads(moves(20, 300, age_ms=near), by_arrival=False)[B, A] == Lead(0, 20, 0)
    assert first.leads(moves(20, 300, age_ms=near, doubt_ms=150), by_arrival=False)[A, B] == Lead(0, 0, 20)
    assert first.leads(moves(20, 300, age_ms=near, doubt_ms=None), by_arrival=False)[A, B] == Lead(0, 0, 20)


def test_by_arrival_the_way_here_counts_and_no_clock() -> None:
    far = {A: 450.0, B: 50.0}
    assert first.leads(moves(20, 150, age_ms=far, doubt_ms=None), by_arrival=True)[A, B] == Lead(0, 20, 0)
    assert first.leads(moves(20, 150, age_ms=far), by_arrival=False)[A, B] == Lead(20, 0, 0)
    assert first.leads(moves(20, 150, age_ms={A: 50.0, B: None}), by_arrival=True) == {}


def test_of_few_moves_no_share_is_told() -> None:
    assert Lead(ENOUGH - 1, 0, 0).share is None
    assert Lead(ENOUGH - 4, 2, 2).share == pytest.approx((ENOUGH - 4) / ENOUGH)


def test_first_is_who_was_before_all_others() -> None:
    reached = {A: (0, 100), B: (200, 300), C: (250, 350)}
    told = first.firsts([Move(0, True, reached, {}, dict.fromkeys(reached, 0.0))] * 10, by_arrival=False)
    assert told == {A: Lead(10, 0, 0), B: Lead(0, 10, 0), C: Lead(0, 10, 0)}


def test_a_move_survives_as_json() -> None:
    (move,) = moves(1, 300, age_ms={A: 1.5, B: None})
    assert Move.of(move.public()) == move
