"""The quality page: match rates against the venues' own candles, what differed, which gaps are open."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from candles.models import Candle, Gap, Mismatch
from candles.services import quality as scoring
from candles.services.quality import DAY_MS, Score
from exchanges.models import Exchange
from livermore.web.observed import now_ms

SYMBOLS_SHOWN = 100
CASES_SHOWN = 50
GAPS_SHOWN = 50


@require_safe
@login_required
def quality(request: HttpRequest) -> HttpResponse:
    """The last 24 hours: a row an exchange, the worst symbols, newest mismatches, open gaps."""
    now = now_ms()
    since_ms = now - DAY_MS
    titles = dict(Exchange.objects.values_list("slug", "title"))
    by_symbol = scoring.scores(since_ms, by_symbol=True)
    context = {
        "now_ms": now,
        "titles": titles,
        "exchanges": [_shown(score, titles) for score in scoring.scores(since_ms)],
        "symbols": [_shown(score, titles) for score in by_symbol[:SYMBOLS_SHOWN]],
        "more": max(0, len(by_symbol) - SYMBOLS_SHOWN),
        "cases": Mismatch.objects.select_related("symbol").order_by("-id")[:CASES_SHOWN],
        "open_cases": Mismatch.objects.filter(mended_at=None).count(),
        "gaps": Gap.objects.filter(closed_at=None).order_by("-from_ns")[:GAPS_SHOWN],
        "compared_ms": _newest_compared(since_ms),
    }
    return render(request, "web/quality.html", context)


def _newest_compared(since_ms: int) -> int | None:
    """When any candle was compared last."""
    compared = Candle.objects.filter(open_ms__gte=since_ms, checked_ms__gt=0).order_by("-checked_ms")
    return compared.values_list("checked_ms", flat=True).first()


def _shown(score: Score, titles: dict[str, str]) -> dict[str, Any]:
    return {
        "score": score,
        "title": titles.get(score.exchange, score.exchange),
        "match": _percent(score.match_rate),
        "standing": _percent(score.standing_rate),
        "coverage": _percent(score.present / score.expected if score.expected else None),
        "fields": ", ".join(f"{name} {count}" for name, count in score.differing.items()),
        "gapped": score.verdicts["gapped"],
    }


def _percent(rate: float | None) -> str:
    """Cut, not rounded: 100 % means all of them."""
    return "–" if rate is None else f"{int(rate * 100_000) / 1_000:.3f} %" if rate < 1 else "100 %"
