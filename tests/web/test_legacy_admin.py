"""The operator sees each exchange's mode and parity and who changed it; he corrects numbers, never modes."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from candles.legacy_models import LegacyMigration, LegacyModeChange, Mode
from candles.services import cutover

pytestmark = pytest.mark.django_db
AT = "kucoin"
PAGE = f"/admin/candles/legacymigration/{AT}/change/"


@pytest.fixture
def desk(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_a_number_is_corrected_until_the_migration_begins_and_a_mode_never(desk: Client, redis_state: object) -> None:
    desk.post(PAGE, {"number": 44, "mode": Mode.DONE})
    row = LegacyMigration.objects.get(pk=AT)
    assert (row.number, row.mode) == (44, Mode.LEGACY)
    cutover.begin(AT, "ann")
    desk.post(PAGE, {"number": 45})
    assert LegacyMigration.objects.get(pk=AT).number == 44
    assert b"not yet" in desk.get(PAGE).content
    change = LegacyModeChange.objects.get()
    listed = desk.get("/admin/candles/legacymodechange/").content.decode()
    assert "ann" in listed
    assert "copy began" in listed
    desk.post(f"/admin/candles/legacymodechange/{change.pk}/delete/", {"post": "yes"})
    assert LegacyModeChange.objects.count() == 1
