"""A user's account at every venue, read with a signed key from a simulator that refuses the least mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges import registry
from exchanges.holdings import Balance, Credentials, Holdings, KeyRights, gathered
from exchanges.http import Door
from exchanges.simulation.account import Account
from exchanges.simulation.stage import Options
from exchanges.venue import Endpoint
from livermore.core.errors import (
    CredentialsRejected,
    InvalidInput,
    LivermoreError,
    LocalProtocolError,
    RateLimited,
    VenueUnavailable,
)
from livermore.core.exact import EXACT
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, http_server
from tests.support.simulation import Running, simulated

SLUGS = ("binance", "binance_us", "coinbase", "kucoin", "mexc")
START_MS = 1_790_000_000_000  # months from our own clock: only a request stamped by the venue's is accepted


def pem() -> str:
    private_key = ec.generate_private_key(ec.SECP256R1())
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


KEYS = {
    slug: Credentials(
        api_key=f"organizations/1/apiKeys/{slug}" if slug == "coinbase" else f"{slug}-key-7Q4F",
        api_secret=pem() if slug == "coinbase" else f"{slug}-secret-91AC",
        passphrase="phrase-33DE" if slug == "kucoin" else "",
    )
    for slug in SLUGS
}


@pytest.fixture(scope="module")
def venues() -> Iterator[Running]:
    with simulated(*SLUGS, is_paused=True, start_ms=START_MS, options=Options(weight_limit=100_000)) as running:
        yield running


@pytest.fixture
def accounts(venues: Running) -> dict[str, Account]:
    """One open account per venue, for reading only."""
    opened = {}
    for slug, key in KEYS.items():
        account = Account(key.api_key, key.api_secret, key.passphrase)
        account.balances = {"BTC": ("0.30000001", "0.1"), "USDT": ("12.5", "0"), "DOGE": ("0", "0.00")}
        venues.call(venues.simulation.open_account, slug, account)
        opened[slug] = account
    return opened


def holdings(venues: Running, slug: str, key: Credentials | None = None, budget: OpenBudget | None = None) -> Holdings:
    make = registry.venue(slug).holdings
    assert make is not None
    endpoint = Endpoint(**venues.endpoints[slug])
    return make(endpoint, budget or OpenBudget(), key or KEYS[slug])


def test_every_venue_of_ours_can_read_an_account() -> None:
    assert [slug for slug in registry.OURS if registry.venue(slug).holdings is None] == []


@pytest.mark.parametrize("slug", SLUGS)
def test_balances_are_exact_and_empty_ones_left_out(slug: str, venues: Running, accounts: dict[str, Account]) -> None:
    assert sorted(holdings(venues, slug).balances(), key=lambda b: b.asset) == [
        Balance("BTC", Decimal("0.30000001"), Decimal("0.1")),
        Balance("USDT", Decimal("12.5"), Decimal(0)),
    ]


BEYOND = {
    "binance": ("enableInternalTransfer", "enableSpotAndMarginTrading", "enableWithdrawals"),
    "coinbase": ("trade", "transfer"),
    "kucoin": ("Spot", "InnerTransfer"),
}


@pytest.mark.parametrize("slug", SLUGS)
def test_what_a_key_may_do_is_told_where_the_venue_can_tell(
    slug: str, venues: Running, accounts: dict[str, Account]
) -> None:
    told = slug in BEYOND
    assert holdings(venues, slug).rights() == KeyRights(() if told else None)
    accounts[slug].rights = {"read", "trade", "transfer"}
    assert holdings(venues, slug).rights() == KeyRights(BEYOND.get(slug))


@pytest.mark.parametrize("slug", SLUGS)
def test_weights_are_taken_from_the_budget(slug: str, venues: Running, accounts: dict[str, Account]) -> None:
    """The venue's clock, the key's rights where there is a call for them, the balances."""
    budget = OpenBudget()
    account = holdings(venues, slug, budget=budget)
    account.rights()
    account.balances()
    assert (
        sorted(budget.spent)
        == {
            "binance": [1, 1, 20],
            "binance_us": [1, 10],
            "coinbase": [1, 1, 1],
            "kucoin": [3, 5, 20],
            "mexc": [3, 10],
        }[slug]
    )


def changed(key: Credentials, **parts: str) -> Credentials:
    return Credentials(**{"api_key": key.api_key, "api_secret": key.api_secret, "passphrase": key.passphrase} | parts)


@pytest.mark.parametrize(("slug", "part"), [*product(SLUGS, ("api_key", "api_secret")), ("kucoin", "passphrase")])
def test_a_wrong_key_is_rejected_without_being_shown(
    slug: str, part: str, venues: Running, accounts: dict[str, Account]
) -> None:
    wrong = pem() if (slug, part) == ("coinbase", "api_secret") else "wrong-value-0BAD"
    key = changed(KEYS[slug], **{part: wrong})
    with pytest.raises(CredentialsRejected) as rejected:
        holdings(venues, slug, key).balances()
    assert_unseen(key, "".join(format_exception(rejected.value)))


@pytest.mark.parametrize("slug", SLUGS)
def test_a_key_that_may_not_even_read_is_rejected(slug: str, venues: Running, accounts: dict[str, Account]) -> None:
    accounts[slug].rights = set()
    budget = OpenBudget()
    with pytest.raises(CredentialsRejected):
        holdings(venues, slug, budget=budget).balances()
    assert budget.closed_until_ms == 0, "one user's key closed the venue for everybody"


@pytest.mark.parametrize("slug", ["kucoin", "coinbase"])
def test_a_user_who_asked_too_much_closes_the_venue_for_nobody_else(slug: str) -> None:
    """There the limit of private calls is each user's own, whose other programs may have used it up."""
    clock = {"code": "200000", "data": START_MS, "epochMillis": str(START_MS)}
    refusal = Answer({"code": "429000", "msg": "Too many requests"}, 429, {"gw-ratelimit-reset": "30000"})
    with http_server(lambda asked: Answer(clock) if "time" in asked.path else refusal) as at:
        make, budget = registry.venue(slug).holdings, OpenBudget()
        assert make is not None
        with pytest.raises(RateLimited):
            make(Endpoint(at.url, ""), budget, KEYS[slug]).balances()
    assert budget.spent
    assert budget.closed_until_ms == 0


@pytest.mark.parametrize("slug", SLUGS)
def test_a_stale_stamp_is_refused_but_is_no_fault_of_the_key(
    slug: str, venues: Running, accounts: dict[str, Account]
) -> None:
    account: Any = holdings(venues, slug)
    account._now.offset_ms = account._now.offset_ms - 600_000
    with pytest.raises(LivermoreError) as refused:
        account.balances()
    # Coinbase has one answer for everything.
    assert isinstance(refused.value, CredentialsRejected if slug == "coinbase" else InvalidInput)


UNSIGNED = [
    ("binance", "/api/v3/account", "", 401, -2014),
    ("binance", "/sapi/v1/account/apiRestrictions", "X-MBX-APIKEY", 400, -1102),
    ("binance_us", "/sapi/v1/account/apiRestrictions", "X-MBX-APIKEY", 404, None),
    ("mexc", "/api/v3/account", "", 400, 400),
    ("mexc", "/api/v3/account?timestamp=1", "X-MEXC-APIKEY", 400, 700004),
    ("kucoin", "/api/v1/accounts", "KC-API-KEY", 400, "400001"),
    ("coinbase", "/api/v3/brokerage/accounts", "Authorization", 401, None),
]


@pytest.mark.parametrize(("slug", "path", "header", "status", "code"), UNSIGNED)
def test_the_simulators_refuse_what_is_not_signed_in_their_venues_words(
    slug: str, path: str, header: str, status: int, code: Any, venues: Running, accounts: dict[str, Account]
) -> None:
    headers = {header: KEYS[slug].api_key} if header else {}
    answer = requests.get(venues.endpoints[slug]["rest"] + path, headers=headers, timeout=10)
    assert answer.status_code == status
    assert code is None or answer.json()["code"] == code


@pytest.mark.parametrize(("slug", "part", "said"), [
    ("kucoin", {"passphrase": ""}, "passphrase"),
    ("coinbase", {"api_secret": "not a pem"}, "PEM"),
])  # fmt: skip
def test_what_cannot_be_a_key_is_rejected_before_anything_is_asked(slug: str, part: dict[str, str], said: str) -> None:
    make = registry.venue(slug).holdings
    assert make is not None
    with pytest.raises(CredentialsRejected, match=said):
        make(Endpoint("http://127.0.0.1:1", "ws://127.0.0.1:1"), OpenBudget(), changed(KEYS[slug], **part))


@pytest.mark.parametrize("ends", ["\n", "\\n", ""])
def test_a_pem_is_read_whatever_became_of_its_line_ends(
    ends: str, venues: Running, accounts: dict[str, Account]
) -> None:
    key = changed(KEYS["coinbase"], api_secret=KEYS["coinbase"].api_secret.replace("\n", ends))
    assert len(holdings(venues, "coinbase", key).balances()) == 2


def test_every_page_of_accounts_is_read(venues: Running, accounts: dict[str, Account]) -> None:
    accounts["coinbase"].balances = {f"A{n:03}": ("1", "0") for n in range(601)}
    assert len(holdings(venues, "coinbase").balances()) == 601


def test_parts_of_one_account_add_up_exactly() -> None:
    tiny, huge = Decimal("1e-30"), Decimal("123456789012345")
    (balance,) = gathered([("X", huge, tiny), ("Y", Decimal(0), Decimal(0)), ("X", tiny, huge)])
    both = EXACT.add(huge, tiny)
    assert balance == Balance("X", both, both)
    assert str(balance.amount) == "246913578024690.000000000000000000000000000002"


# ---- M32, O20 ----------------------------------------------------------------------------------

ORDER_PATHS = ("/api/v3/order", "/api/v3/brokerage/orders", "/api/v1/hf/orders", "/sapi/v1/asset/transfer")
ORDERING = re.compile(r"(?i)\b(orders?|withdraw\w*|transfers?|margin|convert|sub-?accounts?|batchOrders|repay)\b")


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> list[Door]:
    """Every door that is made."""
    made: list[Door] = []
    original = Door.__init__

    def remembered(door: Door, *args: Any, **options: Any) -> None:
        original(door, *args, **options)
        made.append(door)

    monkeypatch.setattr(Door, "__init__", remembered)
    return made


@pytest.mark.parametrize("slug", SLUGS)
def test_no_door_lets_an_order_out(slug: str, doors: list[Door]) -> None:
    """M32: neither for market data nor for an account."""
    venue, at = registry.venue(slug), Endpoint("http://127.0.0.1:9", "ws://127.0.0.1:9")
    assert venue.holdings is not None
    for asking in (venue.rest(at, OpenBudget()).time_ms, venue.holdings(at, OpenBudget(), KEYS[slug]).balances):
        with pytest.raises(VenueUnavailable):
            asking()
    assert len(doors) >= 2
    for door in doors:
        assert not [call for call in door.allowed if ORDERING.search(call)]
        assert {call for call in door.allowed if not call.startswith("GET ")} <= {"POST /api/v1/bullet-public"}
        for method, path in product(("POST", "DELETE", "PUT", "GET"), ORDER_PATHS):
            with pytest.raises(LocalProtocolError):
                door.request(method, door.base + path)


TRADING = re.compile(
    r"/s?api/[\w/.-]*(orders?\b|withdraw|transfer)|(create|place|cancel|add|test)_\w*order|order_(limit|market)|\.withdraw\("
)


def test_no_code_names_a_call_that_orders_or_moves_anything() -> None:
    """M32: not even the simulators know one."""
    root = Path(__file__).resolve().parents[2]
    files = [f for package in ("exchanges", "symbols", "candles") for f in (root / package).rglob("*.py")]
    assert len(files) > 100
    named = [f"{file}: {found[0]}" for file in files if (found := TRADING.search(file.read_text()))]
    assert not named, "\n".join(named)


def assert_unseen(key: Credentials, text: str) -> None:
    for secret in (key.api_secret, key.passphrase):
        if secret:
            assert secret not in text
            assert "".join(secret.split()[5:-5])[:40] not in text or not secret.startswith("-----")


@pytest.mark.parametrize("slug", SLUGS)
def test_no_secret_is_logged_or_printed(
    slug: str, venues: Running, accounts: dict[str, Account], caplog: pytest.LogCaptureFixture
) -> None:
    """At the most talkative level of every library."""
    with caplog.at_level(1):
        account = holdings(venues, slug)
        account.rights()
        account.balances()
    printed = caplog.text + repr(account) + str(vars(account)) + repr(KEYS[slug])
    assert_unseen(KEYS[slug], printed)


def test_a_venue_that_repeats_a_key_does_not_get_it_into_an_error() -> None:
    key = KEYS["mexc"]
    with http_server(
        lambda asked: Answer({"code": 700002, "msg": f"bad {key.api_secret} of {key.api_key}"}, 400)
    ) as at:
        make = registry.venue("mexc").holdings
        assert make is not None
        with pytest.raises(CredentialsRejected) as rejected:
            make(Endpoint(at.url, ""), OpenBudget(), key).balances()
    assert key.redacted(str(rejected.value)).endswith("bad … of …")
