"""The symbol table follows the venue's list, and the tiers follow its turnover."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from livermore.core.errors import InvalidInput, RemoteProtocolError
from livermore.core.symbol import Symbol
from symbols import services, tier1
from symbols.models import ExchangeSymbol, Tier1Refresh
from tests.support import builders
from tests.support.builders import ListedRest, instrument
from tests.support.recordings import recording

pytestmark = pytest.mark.django_db


@pytest.fixture
def toy():
    return builders.exchange("toy", tier1_size=2)


def rows(at):
    return {s.native: s for s in ExchangeSymbol.objects.filter(exchange=at)}


# ---- sync --------------------------------------------------------------------------------------


def test_a_first_sync_stores_what_the_venue_lists(toy):
    result = services.sync("toy", ListedRest([instrument("BTC-USDT"), instrument("OLD-USDT", is_trading=False)]))
    assert (result.listed, result.trading, result.created, result.changed, result.delisted) == (2, 1, 2, 0, 0)
    stored = rows(toy)["BTCUSDT"]
    assert (stored.name, stored.tick, stored.lot, stored.status) == (
        "BTC-USDT", Decimal("0.01"), Decimal("0.0001"), "TRADING",
    )  # fmt: skip
    assert not rows(toy)["OLDUSDT"].is_trading


def test_syncing_the_same_list_again_changes_nothing_but_last_seen(toy):
    rest = ListedRest([instrument("BTC-USDT")])
    services.sync("toy", rest)
    before = rows(toy)["BTCUSDT"]
    again = services.sync("toy", rest)
    after = rows(toy)["BTCUSDT"]
    assert (again.created, again.changed, again.delisted) == (0, 0, 0)
    assert (after.pk, after.first_seen) == (before.pk, before.first_seen)
    assert after.last_seen > before.last_seen


def test_a_symbol_no_longer_listed_stops_trading_and_keeps_its_row(toy):
    services.sync("toy", ListedRest([instrument("BTC-USDT"), instrument("LUNA-USDT")]))
    result = services.sync("toy", ListedRest([instrument("BTC-USDT")]))
    assert result.delisted == 1
    assert not rows(toy)["LUNAUSDT"].is_trading
    assert services.sync("toy", ListedRest([instrument("BTC-USDT")])).delisted == 0


def test_a_status_and_a_step_that_change_are_stored(toy):
    services.sync("toy", ListedRest([instrument("BTC-USDT")]))
    halted = instrument("BTC-USDT", is_trading=False, status="HALT", tick=Decimal("0.1"))
    assert services.sync("toy", ListedRest([halted])).changed == 1
    stored = rows(toy)["BTCUSDT"]
    assert (stored.status, stored.is_trading, stored.tick) == ("HALT", False, Decimal("0.1"))


def test_a_sync_leaves_tier_and_rank_alone(toy):
    builders.symbol(toy, "BTC-USDT", tier=1, rank=1)
    services.sync("toy", ListedRest([instrument("BTC-USDT", status="OK")]))
    assert (rows(toy)["BTCUSDT"].tier, rows(toy)["BTCUSDT"].rank) == (1, 1)


def test_a_name_passes_from_one_native_to_another_in_one_sync(toy):
    services.sync("toy", ListedRest([instrument("BSV-USDT", native="BCHSV-USDT")]))
    result = services.sync("toy", ListedRest([instrument("BSV-USDT", native="BSV-USDT")]))
    assert (result.created, result.delisted, result.conflicts) == (1, 1, ())
    assert services.book("toy").names == {"BSV-USDT": "BSV-USDT"}


def test_two_natives_that_swap_their_names_are_both_stored(toy):
    services.sync("toy", ListedRest([instrument("A-USD", native="1"), instrument("B-USD", native="2")]))
    services.sync("toy", ListedRest([instrument("B-USD", native="1"), instrument("A-USD", native="2")]))
    assert services.book("toy").names == {"1": "B-USD", "2": "A-USD"}


def test_of_two_natives_under_one_name_the_one_that_traded_before_stays(toy):
    services.sync("toy", ListedRest([instrument("ABC-USDT", native="second")]))
    both = [instrument("ABC-USDT", native="first"), instrument("ABC-USDT", native="second")]
    assert services.sync("toy", ListedRest(both)).conflicts == ("first",)
    assert services.book("toy").names == {"second": "ABC-USDT"}


def test_an_empty_list_is_refused_and_delists_nothing(toy):
    builders.symbol(toy, "BTC-USDT")
    with pytest.raises(RemoteProtocolError, match="no instruments"):
        services.sync("toy", ListedRest([]))
    assert rows(toy)["BTCUSDT"].is_trading


def test_another_exchange_is_not_touched(toy):
    other = builders.exchange("other")
    builders.symbol(other, "LUNA-USDT")
    services.sync("toy", ListedRest([instrument("BTC-USDT")]))
    assert rows(other)["LUNAUSDT"].is_trading


def test_a_sync_of_a_whole_venue_takes_a_handful_of_statements(toy, django_assert_max_num_queries):
    listed = [instrument(f"A{n}-USDT") for n in range(1500)]
    services.sync("toy", ListedRest(listed))
    with django_assert_max_num_queries(32):
        services.sync("toy", ListedRest(listed))


def _recorded_instruments(path):
    with gzip.open(recording(path), "rt") as lines:
        answer = json.loads(json.loads(next(lines))["text"])
    for row in answer["symbols"] if "symbols" in answer else answer["products"]:
        base = row.get("baseAsset") or row["base_currency_id"]
        quote = row.get("quoteAsset") or row["quote_currency_id"]
        native = row.get("symbol") or row["product_id"]
        yield instrument("X-Y", native=native, symbol=Symbol(base.upper(), quote.upper()))


@pytest.mark.parametrize(
    "path",
    [
        "binance/rest_exchangeInfo_2021-10-12.jsonl.gz",
        "binance_us/rest_exchangeInfo_2021-10-12.jsonl.gz",
        "coinbase/rest_products_advanced_2026-08-09.jsonl.gz",
    ],
)
def test_a_whole_recorded_list_maps_native_to_canonical_one_to_one(toy, path):
    listed = list(_recorded_instruments(path))
    result = services.sync("toy", ListedRest(listed))
    names = services.book("toy").names
    assert result.conflicts == ()
    assert len(names) == len({i.native for i in listed}) > 0
    assert len(set(names.values())) == len(names)


# ---- Tier 1 ------------------------------------------------------------------------------------


def turnovers(**by_native):
    return {native: Decimal(str(value)) for native, value in by_native.items()}


def test_bitcoin_ranks_first_against_a_meme_coin_in_small_units(toy):
    btc, meme = builders.symbol(toy, "BTC-USD"), builders.symbol(toy, "MEME-USD")
    rest = ListedRest(turnovers={btc.native: 9_000 * Decimal(64_000), meme.native: Decimal("9e12") * Decimal("1e-9")})
    tier1.refresh("toy", rest)
    assert rows(toy)["BTCUSD"].rank == 1
    assert rows(toy)["MEMEUSD"].rank == 2


def test_a_refresh_stores_turnover_rank_and_tier(toy):
    for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT", "USDC-USDT"):
        builders.symbol(toy, name)
    rest = ListedRest(turnovers=turnovers(BTCUSDT=500, ETHUSDT=300, SOLUSDT=200, USDCUSDT=9999))
    result = tier1.refresh("toy", rest)
    got = {native: (s.rank, s.tier) for native, s in rows(toy).items()}
    assert got == {"BTCUSDT": (1, 1), "ETHUSDT": (2, 1), "SOLUSDT": (3, None), "USDCUSDT": (None, None)}
    assert rows(toy)["BTCUSDT"].turnover_usd_24h == 500
    assert (result.tier1, result.ranked, result.unranked) == (2, 3, 1)
    assert result.entered == ("BTC-USDT", "ETH-USDT")


def test_quotes_are_converted_by_the_venues_own_prices(toy):
    for name in ("BTC-USDT", "ETH-BTC", "SOL-USDT", "ABC-XYZ"):
        builders.symbol(toy, name)
    rest = ListedRest(
        turnovers=turnovers(BTCUSDT=1000, ETHBTC=2, SOLUSDT=50_000, ABCXYZ=10**9),
        closes={"BTCUSDT": Decimal(64_000)},
    )
    tier1.refresh("toy", rest)
    got = rows(toy)
    assert got["ETHBTC"].turnover_usd_24h == 128_000
    assert [got[n].rank for n in ("ETHBTC", "SOLUSDT", "BTCUSDT", "ABCXYZ")] == [1, 2, 3, None]
    assert rest.asked_klines == ["BTCUSDT"]


def test_who_leaves_tier_1_keeps_tier_2_while_somebody_follows(toy):
    user = get_user_model().objects.create(username="ann")
    for n, name in enumerate(("A-USD", "B-USD", "C-USD", "D-USD")):
        builders.symbol(toy, name, tier=1 if n >= 2 else None)
    services.follow(user, rows(toy)["CUSD"])
    rest = ListedRest(turnovers=turnovers(AUSD=9, BUSD=8, CUSD=2, DUSD=1))
    for _ in range(2):
        assert tier1.refresh("toy", rest).left == ()
    result = tier1.refresh("toy", rest)
    assert {n: s.tier for n, s in rows(toy).items()} == {"AUSD": 1, "BUSD": 1, "CUSD": 2, "DUSD": None}
    assert result.left == ("C-USD", "D-USD")
    assert result.coverage == Decimal("0.8500")
    noted = Tier1Refresh.objects.filter(exchange=toy)
    assert [(r.tier1, r.entered, r.left, r.coverage) for r in noted[:2]] == [
        (2, [], ["C-USD", "D-USD"], Decimal("0.8500")),
        (4, [], [], Decimal("1.0000")),
    ]


def test_a_symbol_that_stopped_trading_loses_rank_and_tier(toy):
    builders.symbol(toy, "A-USD", tier=1, rank=1)
    builders.symbol(toy, "B-USD", tier=1, rank=2, is_trading=False)
    tier1.refresh("toy", ListedRest(turnovers=turnovers(AUSD=9, BUSD=8)))
    assert (rows(toy)["BUSD"].rank, rows(toy)["BUSD"].tier) == (None, None)


def test_a_venue_that_says_no_turnover_does_not_empty_tier_1(toy):
    builders.symbol(toy, "A-USD", tier=1)
    with pytest.raises(RemoteProtocolError, match="turnover"):
        tier1.refresh("toy", ListedRest())
    assert rows(toy)["AUSD"].tier == 1


def test_a_second_refresh_with_the_same_answer_changes_no_membership(toy):
    for name in ("A-USD", "B-USD", "C-USD"):
        builders.symbol(toy, name)
    rest = ListedRest(turnovers=turnovers(AUSD=9, BUSD=8, CUSD=7))
    tier1.refresh("toy", rest)
    again = tier1.refresh("toy", rest)
    assert (again.entered, again.left) == ((), ())


# ---- what streams read -------------------------------------------------------------------------


def test_streamed_are_tier_1_live_subscriptions_and_the_dollar_coins_own_markets(toy):
    user = get_user_model().objects.create(username="ann")
    builders.symbol(toy, "BTC-USD", tier=1)
    builders.symbol(toy, "USDT-USD")
    builders.symbol(toy, "ETH-USD")
    services.follow(user, builders.symbol(toy, "SOL-USD"))
    services.follow(user, builders.symbol(toy, "OLD-USD"), expires_at=timezone.now() - timedelta(seconds=1))
    builders.symbol(toy, "GONE-USD", tier=1, is_trading=False)
    assert services.streamed_names("toy") == {"BTCUSD": "BTC-USD", "USDTUSD": "USDT-USD", "SOLUSD": "SOL-USD"}


def test_the_book_holds_all_trading_symbols_and_its_version_follows_its_content(toy):
    builders.symbol(toy, "BTC-USDT")
    builders.symbol(toy, "OLD-USDT", is_trading=False)
    first = services.book("toy")
    assert first.names == {"BTCUSDT": "BTC-USDT"}
    assert services.book("toy").version == first.version
    builders.symbol(toy, "ETH-USDT")
    assert services.book("toy").version != first.version


# ---- subscriptions -----------------------------------------------------------------------------


def test_two_reasons_share_one_row_and_the_strongest_is_its_source(toy):
    user = get_user_model().objects.create(username="ann")
    sol = builders.symbol(toy, "SOL-USD")
    services.follow(user, sol, "manual")
    services.follow(user, sol, "position")
    [row] = user.subscriptions.all()
    assert (row.source, row.reasons) == ("position", ["position", "manual"])
    assert services.streamed_names("toy") == {"SOLUSD": "SOL-USD"}


def test_taking_one_reason_keeps_the_row_and_taking_both_ends_the_stream(toy):
    user = get_user_model().objects.create(username="ann")
    sol = builders.symbol(toy, "SOL-USD")
    services.follow(user, sol, "manual")
    services.follow(user, sol, "position")
    assert services.unfollow(user, sol, "position").source == "manual"
    assert services.streamed_names("toy") == {"SOLUSD": "SOL-USD"}
    assert services.unfollow(user, sol, "manual") is None
    assert services.streamed_names("toy") == {}
    assert rows(toy)["SOLUSD"].tier is None


@pytest.mark.parametrize("many", [False, True])
def test_a_subscription_deleted_by_the_operator_ends_like_one_taken_back(toy, admin_client, many):
    ann, bob = (get_user_model().objects.create(username=name) for name in ("ann", "bob"))
    sol, eth, btc = (builders.symbol(toy, name) for name in ("SOL-USD", "ETH-USD", "BTC-USD"))
    ExchangeSymbol.objects.filter(pk=btc.pk).update(tier=1)
    ends = [services.follow(ann, symbol).pk for symbol in (sol, eth, btc)]
    services.follow(bob, eth)
    listing = reverse("admin:symbols_usersymbolsubscription_changelist")
    if many:
        chosen = {"action": "delete_selected", "_selected_action": ends, "post": "yes"}
        assert admin_client.post(listing, chosen).status_code == 302
    else:
        for pk in ends:
            gone = admin_client.post(reverse("admin:symbols_usersymbolsubscription_delete", args=[pk]), {"post": "yes"})
            assert gone.status_code == 302
    assert not ann.subscriptions.exists()
    assert {name: row.tier for name, row in rows(toy).items()} == {"SOLUSD": None, "ETHUSD": 2, "BTCUSD": 1}


def test_an_unknown_source_is_refused_with_what_is_accepted(toy):
    user = get_user_model().objects.create(username="ann")
    with pytest.raises(InvalidInput, match="position manual alert"):
        services.follow(user, builders.symbol(toy, "SOL-USD"), "whim")
