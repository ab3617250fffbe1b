"""A symbol's silence is judged by its own past, and only the venue's word makes it a stall."""

from __future__ import annotations

from itertools import pairwise

from exchanges.silence import Remedy, Silence, Stall

SECOND = 1_000_000_000
T0 = 1_790_000_000 * SECOND


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


def judge(*natives: str, since: float = 0.0) -> Silence:
    made = Silence()
    made.follow(dict.fromkeys(natives, at(since)), at(since))
    return made


def trades(silence: Silence, native: str, every_s: float, until_s: float, from_s: float = 0.0) -> None:
    count = int((until_s - from_s) / every_s)
    for n in range(1, count + 1):
        moment = at(from_s + n * every_s)
        silence.heard(native, moment, moment - SECOND // 10)


def ask_in_vain(silence: Silence, native: str, moment: float) -> None:
    interval = silence.question(native, at(moment), 0)
    assert interval is not None
    silence.quiet(native, interval, at(moment))


# ---- suspicion -------------------------------------------------------------------------------------


def test_a_busy_symbol_is_suspicious_after_fifteen_seconds():
    silence = judge("BTC")
    trades(silence, "BTC", 0.5, 60)
    assert silence.limit_ns("BTC") == 15 * SECOND
    assert silence.overdue(at(75)) == []
    assert silence.overdue(at(75.1)) == ["BTC"]


def test_a_thin_symbol_is_judged_by_its_own_pauses():
    silence = judge("NMR")
    trades(silence, "NMR", 20, 400)
    assert silence.limit_ns("NMR") == 160 * SECOND
    assert silence.overdue(at(559)) == []
    assert silence.overdue(at(561)) == ["NMR"]


def test_one_long_pause_among_a_hundred_does_not_count_two_do():
    silence = judge("BTC")
    trades(silence, "BTC", 1, 50)
    silence.heard("BTC", at(90), at(90))
    trades(silence, "BTC", 1, 148, from_s=90)
    assert silence.limit_ns("BTC") == 15 * SECOND
    silence.heard("BTC", at(188), at(188))
    assert silence.limit_ns("BTC") == 8 * 40 * SECOND


def test_nobody_waits_longer_than_ten_minutes():
    silence = judge("NMR")
    trades(silence, "NMR", 300, 900)
    assert silence.limit_ns("NMR") == 600 * SECOND


def test_what_never_traded_is_asked_after_fifteen_seconds_and_what_does_not_stream_is_not():
    silence = judge("NEW")
    silence.follow({"NEW": at(0), "DOWN": None}, at(0))
    assert silence.overdue(at(14)) == []
    assert silence.overdue(at(16)) == ["NEW"]
    silence.follow({"NEW": None, "DOWN": None}, at(17))
    assert silence.overdue(at(100)) == []
    silence.follow({"NEW": at(100), "DOWN": at(100)}, at(101))
    assert silence.overdue(at(114)) == []
    assert silence.overdue(at(116)) == ["DOWN", "NEW"]


def test_the_busiest_are_asked_about_first():
    silence = judge("SLOW", "BUSY", "NEW")
    trades(silence, "SLOW", 1.5, 30)
    trades(silence, "BUSY", 0.1, 30)
    assert silence.overdue(at(60)) == ["BUSY", "SLOW", "NEW"]


def test_a_pause_in_which_nothing_streamed_is_no_pause_of_the_symbol():
    silence = judge("BTC")
    trades(silence, "BTC", 1, 30)
    silence.follow({"BTC": None}, at(31))
    silence.follow({"BTC": at(500)}, at(500))
    trades(silence, "BTC", 1, 510, from_s=500)
    assert silence.limit_ns("BTC") == 15 * SECOND


# ---- questions -------------------------------------------------------------------------------------


def test_the_question_begins_after_the_last_trade_by_the_venues_clock():
    silence = judge("BTC")
    silence.heard("BTC", at(10), at(13))  # its clock is three seconds ahead
    assert silence.question("BTC", at(30), 0) == (at(14) // 1_000_000, at(29) // 1_000_000)


def test_the_question_is_only_about_what_was_looked_at_completely():
    silence = judge("BTC")
    silence.heard("BTC", at(10), at(10))
    assert silence.question("BTC", at(30), at(29)) is None
    assert silence.question("BTC", at(35), at(29)) == (at(30) // 1_000_000, at(34) // 1_000_000)


def test_a_busy_symbols_question_covers_a_minute_at_most():
    silence = judge("BTC")
    trades(silence, "BTC", 1, 20)
    start_ms, end_ms = silence.question("BTC", at(5_000), 0)
    assert end_ms - start_ms == 60_000


def test_a_quiet_symbol_is_asked_less_and_less():
    silence = judge("NMR")
    asked = []
    for second in range(3_600):
        if silence.overdue(at(second)):
            asked.append(second)
            ask_in_vain(silence, "NMR", second)
    assert len(asked) < 12
    assert asked[-1] - asked[-2] == 600
    assert len([s for s in asked if s <= 600]) <= 6
    silence.heard("NMR", at(3_600), at(3_600))
    assert silence.overdue(at(3_601)) == []


def test_without_an_answer_the_question_is_put_again_later():
    silence = judge("BTC")
    silence.unknown("BTC", at(20))
    assert silence.overdue(at(34)) == []
    assert silence.overdue(at(35)) == ["BTC"]


# ---- stalls ----------------------------------------------------------------------------------------


def stalled_btc() -> Silence:
    silence = judge("BTC", "ETH")
    trades(silence, "ETH", 1, 60)
    trades(silence, "BTC", 1, 30)
    assert silence.overdue(at(46)) == ["BTC"]
    assert silence.stalled("BTC", ["BTC", "ETH"], at(46)) == Stall(Remedy.RESUBSCRIBE, {"BTC": at(30)}, False)
    return silence


def test_a_stall_is_first_subscribed_again_then_its_connection_replaced():
    silence = stalled_btc()
    assert silence.stalls() == ["BTC"]
    assert silence.overdue(at(55)) == []
    assert silence.overdue(at(56)) == ["BTC"]
    assert silence.question("BTC", at(56), 0) == (at(51) // 1_000_000, at(55) // 1_000_000)
    assert silence.stalled("BTC", ["BTC", "ETH"], at(56)) == Stall(Remedy.REPLACE, {"BTC": at(46)}, False)


def test_remedies_that_do_not_help_come_less_and_less_often():
    silence, acted = stalled_btc(), [46]
    for second in range(47, 3_600):
        silence.heard("ETH", at(second), at(second))
        if "BTC" in silence.overdue(at(second)):
            acted.append(second)
            silence.stalled("BTC", ["BTC", "ETH"], at(second))
    pauses = [b - a for a, b in pairwise(acted)]
    assert pauses[:5] == [10, 10, 20, 40, 80]
    assert max(pauses) == 600


def test_a_stall_is_healed_by_a_trade_but_not_by_a_snapshot_after_subscribing_again():
    silence = stalled_btc()
    silence.heard("BTC", at(49), at(25))
    assert silence.healed() == {}
    silence.heard("BTC", at(52), at(52))
    assert silence.healed() == {"BTC": at(46)}
    assert (silence.healed(), silence.stalls()) == ({}, [])
    assert silence.limit_ns("BTC") == 15 * SECOND, "the stall is no pause of the symbol"


def test_a_stall_is_over_when_the_venue_trades_no_more_and_the_next_remedy_is_the_stronger_one():
    silence = stalled_btc()
    ask_in_vain(silence, "BTC", 56)
    assert silence.healed() == {}, "a few seconds prove nothing"
    assert "BTC" in silence.overdue(at(61))
    ask_in_vain(silence, "BTC", 67)
    assert silence.healed() == {"BTC": at(46)}
    assert "BTC" not in silence.overdue(at(96))
    assert "BTC" in silence.overdue(at(97))
    found = silence.stalled("BTC", ["BTC", "ETH"], at(97))
    assert (found.remedy, found.natives["BTC"]) == (Remedy.REPLACE, at(66))


def test_a_silent_channel_is_one_stall_since_its_last_frame():
    silence = judge("BTC", "ETH", "NMR")
    trades(silence, "BTC", 1, 30)
    trades(silence, "ETH", 1, 29)
    assert silence.stalled("BTC", ["BTC", "ETH", "NMR"], at(46)) == Stall(
        Remedy.RESUBSCRIBE, {"BTC": at(30), "ETH": at(30), "NMR": at(30)}, True
    )
    assert silence.overdue(at(50)) == []
    assert silence.stalled("BTC", ["BTC", "ETH", "NMR"], at(56)).is_channel


def test_a_connection_replaced_for_one_symbol_confesses_the_others_that_were_silent_on_it():
    silence = judge("BTC", "ETH", "NMR")
    trades(silence, "NMR", 20, 40)
    trades(silence, "ETH", 1, 60)
    trades(silence, "BTC", 1, 30)
    everybody = ["BTC", "ETH", "NMR"]
    assert silence.stalled("BTC", everybody, at(46)).natives == {"BTC": at(30)}
    assert silence.overdue(at(56)) == ["BTC"], "NMR's own pauses are longer"
    assert silence.stalled("BTC", everybody, at(56)) == Stall(Remedy.REPLACE, {"BTC": at(46), "NMR": at(40)}, False)
    assert silence.healed() == {}
    silence.heard("NMR", at(62), at(62))
    assert silence.healed() == {"NMR": at(56)}


def test_a_connection_that_was_just_replaced_is_kept_for_one_symbol_but_not_for_a_channel():
    silence = stalled_btc()
    found = silence.stalled("BTC", ["BTC", "ETH"], at(56), is_rested=False)
    assert (found.remedy, found.natives) == (Remedy.RESUBSCRIBE, {"BTC": at(46)})
    silence = judge("BTC", "ETH")
    silence.stalled("BTC", ["BTC", "ETH"], at(46), is_rested=False)
    assert silence.stalled("BTC", ["BTC", "ETH"], at(80), is_rested=False).remedy is Remedy.REPLACE


# ---- counts ----------------------------------------------------------------------------------------


def test_receiving_is_who_trades_within_the_limit_or_is_proven_quiet():
    silence = judge("BTC", "ETH", "NMR", "NEW")
    trades(silence, "BTC", 1, 100)
    trades(silence, "ETH", 1, 70)
    ask_in_vain(silence, "NMR", 90)
    assert silence.receiving(at(100)) == 2
    silence.heard("ETH", at(101), at(101))
    assert silence.receiving(at(101)) == 3
    silence.stalled("BTC", ["BTC", "ETH"], at(101))
    assert silence.receiving(at(101)) == 2


def test_who_is_no_longer_followed_is_forgotten():
    silence = judge("BTC", "ETH")
    silence.follow({"ETH": at(0)}, at(1))
    assert silence.overdue(at(20)) == ["ETH"]
    assert not silence.is_silent("BTC", at(20))
