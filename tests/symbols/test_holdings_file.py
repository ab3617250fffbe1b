"""Files of holdings: every line is judged, nothing is taken from a wrong file, and the next file replaces the last."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from livermore.core.errors import InvalidInput
from symbols import holdings_file, positions
from symbols.models import Position, UserSymbolSubscription
from tests.support import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> Any:
    return get_user_model().objects.create_user("jesse")


@pytest.fixture
def toy() -> Any:
    row = builders.exchange("toy")
    builders.symbol(row, "BTC-USDT", turnover_usd_24h=Decimal(100))
    builders.symbol(row, "BTC-USD", turnover_usd_24h=Decimal(9))
    builders.symbol(row, "SOL-EUR", turnover_usd_24h=Decimal(5))
    builders.symbol(row, "OLD-USDT", is_trading=False)
    return row


def held(user: Any) -> dict[str, tuple[Decimal | None, str | None]]:
    rows = Position.objects.filter(user=user).select_related("symbol")
    return {row.asset: (row.free, row.symbol and row.symbol.name) for row in rows}


def followed(user: Any) -> set[str]:
    rows = UserSymbolSubscription.objects.live().filter(user=user)
    return set(rows.values_list("symbol__name", flat=True))


@pytest.mark.parametrize(
    "text",
    [
        "asset,amount\nbtc,0.5\nUSDT,100\nSOL,\n",
        "\ufeffAsset;Amount;Note\r\nBTC;0.5;cold\r\nusdt;100;\r\n\r\nsol;;\r\n",
        "symbol,asset,amount\nBTC-USDT,,0.5\n,USDT,100\nSOL/EUR,,\n",
    ],
)
def test_assets_and_symbols_are_followed_and_cash_is_not(user: Any, toy: Any, text: str) -> None:
    done = holdings_file.load(user, "toy", text.encode())
    assert (done.positions, done.followed, done.leaving) == (3, 2, 0)
    assert held(user) == {
        "BTC": (Decimal("0.5"), "BTC-USDT"),
        "USDT": (Decimal(100), None),
        "SOL": (None, "SOL-EUR"),
    }
    assert followed(user) == {"BTC-USDT", "SOL-EUR"}
    assert UserSymbolSubscription.objects.filter(user=user, expires_at=None, source="position").count() == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: '' names no such columns; accepted: asset or symbol, and perhaps amount"),
        ("coin,size\nBTC,1\n", "line 1: 'coin,size' names no such columns; accepted: asset or symbol"),
        ("asset\nBTC\nBTX\n", "line 3: toy trades no BTX; accepted: what it trades, such as BTC"),
        ("symbol\nBTC-USDX\n", "line 2: toy has no symbol 'BTC-USDX'; accepted: BASE-QUOTE, such as BTC-USD"),
        ("symbol\nOLD-USDT\n", "line 2: OLD-USDT does not trade at toy now; accepted: a symbol that does"),
        ("asset,amount\nBTC,much\n", "line 2: amount 'much' is none; accepted: a number such as 0.25, or nothing"),
        ("asset,amount\nBTC,-1\n", "line 2: amount '-1' is none"),
        ("asset,amount\nBTC,inf\n", "line 2: amount 'inf' is none"),
        ("asset,amount\n,5\n", "line 2: '' is no asset; accepted: a name such as BTC, or a symbol"),
        ("asset\nBTC\n\nbtc\n", "line 4: btc stands in line 2, too; accepted: each once"),
        ("asset\nA\nB\nC\n", "line 2: toy trades no A; accepted: what it trades, such as"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_accepted_and_nothing_is_taken(
    user: Any, toy: Any, text: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        holdings_file.load(user, "toy", text.encode())
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
    assert held(user) == {}


def test_every_wrong_line_is_named(user: Any, toy: Any) -> None:
    with pytest.raises(holdings_file.InvalidFile) as refused:
        holdings_file.parse("toy", b"asset,amount\nA,1\nBTC,1\nSOL,x\n")
    assert [error.partition(":")[0] for error in refused.value.errors] == ["line 2", "line 4"]
    assert str(refused.value).endswith("(and 1 more lines)")


@pytest.mark.parametrize(("raw", "said"), [(b"asset\n\xff", "UTF-8"), (b"asset\n" * (1 << 18), "bytes; accepted")])
def test_what_is_no_text_or_too_much_is_refused(toy: Any, raw: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        holdings_file.parse("toy", raw)


def test_the_next_file_replaces_the_last_and_leaves_the_rest_a_day(user: Any, toy: Any) -> None:
    holdings_file.load(user, "toy", b"asset,amount\nBTC,1\nSOL,2\nUSDT,3\n")
    done = holdings_file.load(user, "toy", b"asset,amount\nBTC,5\nSOL,0\n")
    assert (done.positions, done.leaving) == (1, 1)
    assert followed(user) == {"BTC-USDT", "SOL-EUR"}
    positions.end_due(timezone.now() + timedelta(hours=25))
    assert held(user) == {"BTC": (Decimal(5), "BTC-USDT")}
    assert followed(user) == {"BTC-USDT"}


def test_a_file_ends_when_its_operator_said(user: Any, toy: Any) -> None:
    with pytest.raises(InvalidInput, match="past; accepted: a later one"):
        holdings_file.load(user, "toy", b"asset\nBTC\n", expires_at=timezone.now() - timedelta(days=1))
    ends = timezone.now() + timedelta(days=30)
    holdings_file.load(user, "toy", b"asset\nBTC\n", expires_at=ends)
    assert UserSymbolSubscription.objects.get(user=user).expires_at == ends
    positions.end_due(ends)
    assert (held(user), followed(user)) == ({}, set())


# ---- the command -------------------------------------------------------------------------------


def test_the_command_prints_one_line_of_counts(user: Any, toy: Any, tmp_path: Path, capsys: Any, settings: Any) -> None:
    builders.symbol(builders.Exchange.objects.get(pk="binance"), "BTC-USDT")
    file = tmp_path / "holdings.csv"
    file.write_text("asset,amount\nBTC,0.5\n")
    call_command("import_holdings", "jesse", "binance", str(file), "--expires", "2199-01-31")
    assert capsys.readouterr().out.startswith("binance: 1 positions of jesse, 1 followed; 0 former ones leave")
    assert Position.objects.get(user=user).until.year == 2199


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ann", "binance", "-"), 2, "user 'ann' does not exist; accepted: jesse"),
        (("jesse", "nope", "-"), 6, "accepted: binance"),
        (("jesse", "binance", "/nowhere/x.csv"), 2, "/nowhere/x.csv: No such file"),
        (("jesse", "binance", __file__), 2, "names no such columns"),
        (("jesse", "binance", __file__, "--expires", "soon"), 2, "--expires 'soon' is no day"),
        (("jesse", "binance", __file__, "--expires", "2001-01-01"), 2, "is past"),
    ],
)
def test_the_command_refuses_in_one_line(user: Any, arguments: tuple[str, ...], code: int, said: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("import_holdings", *arguments)
    assert refused.value.returncode == code
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


# ---- the admin ---------------------------------------------------------------------------------


def upload(client: Any, user: Any, text: str, **more: str) -> Any:
    posted = {"user": user.pk, "exchange": "toy", "file": SimpleUploadedFile("h.csv", text.encode()), **more}
    return client.post(reverse("admin:symbols_position_import"), posted)


def test_a_file_uploaded_in_the_admin_is_taken_and_its_positions_are_listed(
    admin_client: Any, user: Any, toy: Any
) -> None:
    address = reverse("admin:symbols_position_changelist")
    assert reverse("admin:symbols_position_import") in admin_client.get(address).content.decode()
    assert admin_client.get(reverse("admin:symbols_position_import")).status_code == 200
    answer = upload(admin_client, user, "asset,amount\nBTC,0.5\n", expires_at_0="2199-01-31", expires_at_1="00:00")
    assert answer.status_code == 302
    listed = admin_client.get(address).content.decode()
    assert "BTC-USDT" in listed
    assert "1 positions of jesse, 1 followed" in listed
    row = Position.objects.get()
    assert row.until.year == 2199
    assert admin_client.get(reverse("admin:symbols_position_change", args=[row.pk])).status_code == 200
    admin_client.post(address, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
    assert (held(user), followed(user)) == ({}, set())


def test_every_line_at_fault_stands_beside_the_upload(admin_client: Any, user: Any, toy: Any) -> None:
    text = upload(admin_client, user, "asset,amount\nA,1\nBTC,x\n").content.decode()
    assert "line 2: toy trades no A" in text
    assert "line 3: amount" in text
    assert held(user) == {}


def test_who_may_not_add_positions_cannot_upload(client: Any, user: Any, toy: Any) -> None:
    client.force_login(get_user_model().objects.create_user("clerk", is_staff=True))
    assert upload(client, user, "asset\nBTC\n").status_code == 403
    assert held(user) == {}
