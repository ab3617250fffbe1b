"""Every combination of witnesses gives one verdict."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candles.audit import Witnesses, judge
from candles.fold import Folded
from livermore.core.candle import Quality, Reason

ONE = Decimal(1)


def folded(first=10, last=20, is_unbroken=True):
    return Folded(ONE, ONE, ONE, ONE, ONE, ONE, ONE, 11, 0, first, last, is_unbroken, 0)


def witnesses(**changes):
    base = {"is_consecutive": True, "last_before": 9, "first_after": 21, "is_covered": True, "has_open_gap": False}
    return Witnesses(**{**base, **changes})


@pytest.mark.parametrize(
    ("bucket", "changes", "quality", "has_hole"),
    [
        (folded(), {}, Quality.PROVEN, False),
        (folded(), {"is_covered": False, "has_open_gap": True}, Quality.PROVEN, False),
        (folded(), {"first_after": None}, Quality.CLEAN, False),
        (folded(), {"last_before": None}, Quality.CLEAN, False),
        (folded(), {"first_after": None, "is_covered": False}, Quality.GAPPED, False),
        (folded(), {"first_after": None, "has_open_gap": True}, Quality.GAPPED, False),
        (folded(is_unbroken=False), {}, Quality.GAPPED, True),
        (folded(), {"last_before": 8}, Quality.GAPPED, True),
        (folded(), {"first_after": 23}, Quality.GAPPED, True),
        (folded(), {"doubted": 1}, Quality.GAPPED, True),
        (folded(first=None, last=None, is_unbroken=False), {"is_consecutive": False}, Quality.CLEAN, False),
        (folded(first=None, last=None, is_unbroken=False), {"is_covered": False}, Quality.GAPPED, False),
    ],
)
def test_a_bucket_with_trades(bucket, changes, quality, has_hole):
    verdict = judge(bucket, witnesses(**changes))
    assert (verdict.quality, verdict.reason, verdict.has_hole) == (quality, None, has_hole)


@pytest.mark.parametrize(
    ("changes", "quality", "reason", "has_hole"),
    [
        ({"last_before": None, "first_after": None}, Quality.EMPTY, Reason.NO_TRADES, False),
        ({"first_after": None, "is_covered": False}, Quality.GAPPED, Reason.OUTAGE, False),
        ({"first_after": None, "has_open_gap": True}, Quality.GAPPED, Reason.OUTAGE, False),
        ({"last_before": 9, "first_after": 10, "is_covered": False}, Quality.EMPTY, Reason.NO_TRADES, False),
        ({"last_before": 9, "first_after": 12}, Quality.GAPPED, Reason.OUTAGE, True),
        ({"doubted": 1}, Quality.GAPPED, Reason.OUTAGE, True),
    ],
)
def test_a_bucket_without_trades(changes, quality, reason, has_hole):
    verdict = judge(None, witnesses(**changes))
    assert (verdict.quality, verdict.reason, verdict.has_hole) == (quality, reason, has_hole)
