"""Symbols keep their sockets."""

from __future__ import annotations

from exchanges.placement import place


def test_symbols_fill_sockets_up_to_the_headroom():
    plans = place([], [f"S{i:02d}" for i in range(95)], 30)
    assert [len(p) for p in plans] == [27, 27, 27, 14]


def test_one_symbol_more_touches_one_socket():
    before = place([], [f"S{i:02d}" for i in range(60)], 30)
    after = place(before, [f"S{i:02d}" for i in range(60)] + ["NEW"], 30)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_a_removed_symbol_frees_its_place_and_positions_never_shift():
    before = place([], ["A", "B", "C"], 1)
    after = place(before, ["A", "C"], 1)
    assert after == [["A"], [], ["C"]]
    assert place(after, ["A", "C", "D"], 1) == [["A"], ["D"], ["C"]]
