"""When data of an exchange came: looked at every few seconds, remembered in the database, whatever dies."""

from __future__ import annotations

from collections.abc import Mapping

from candles.models import Gap
from exchanges import observed, registry
from exchanges.lifecycle import State
from exchanges.models import Exchange
from livermore.core.gap import Cause
from livermore.watch import activity
from livermore.watch.models import STOPPED, Reception

SILENT_MS = 10_000
"""No frame for so long is an outage unless the market is quiet; gaps of reconnects tell shorter ones."""
KEPT_MS = 40 * 86_400_000
_SUCCEEDED = "its stream host ended without leave, and another went on"
_UNWATCHED = "nobody looked: no worker ran, or the stores were away"
_UNTOLD = "connected, and no frame comes"
_BY_WISH = frozenset({State.IDLE, State.PAUSED, State.DRAINING})


def watch(now_ms: int) -> None:
    """Look at every exchange's stream. Raises `StoreUnavailable`."""
    for row in Exchange.objects.filter(pk__in=registry.slugs()):
        look(row, observed.stream_state(row.slug), now_ms)


def look(exchange: Exchange, said: Mapping[str, str], now_ms: int) -> None:
    """One look: `said` is what the stream's host tells, nothing when it is silent."""
    newest = Reception.objects.filter(exchange=exchange).order_by("-from_ms").first()
    last_ms, since_ms = int(said.get("last_frame_ms") or 0), int(said.get("since_ms") or 0)
    if last_ms > now_ms - SILENT_MS and said.get("state") not in _BY_WISH:
        epoch = int(said["epoch"]) if said.get("epoch") else None
        _received(exchange, newest, (last_ms, since_ms, epoch), now_ms)
    elif newest is not None and not newest.ended:
        _silent(newest, said, last_ms, now_ms)


def _received(exchange: Exchange, newest: Reception | None, told: tuple[int, int, int | None], now_ms: int) -> None:
    """`told`: the last frame, since when every connection streams (ms UTC, 0: not yet), and the epoch."""
    last_ms, since_ms, epoch = told
    if newest is not None and not newest.ended:
        was_succeeded = None not in (epoch, newest.epoch) and epoch != newest.epoch
        was_away = bool(newest.cause) or _began_anew(newest, last_ms, since_ms, was_succeeded=was_succeeded)
        if was_away is None:
            return
        if not was_away:
            newest.to_ms, newest.looked_ms, newest.epoch = max(newest.to_ms, last_ms), now_ms, epoch
            newest.save(update_fields=["to_ms", "looked_ms", "epoch"])
            return
        newest.cause = newest.cause or (_SUCCEEDED if was_succeeded else _UNWATCHED)
        if newest.cause == _UNTOLD:
            # Why it was silent is often known only when the connection is given up, just before data is back.
            later = [e.detail for e in activity.failures(exchange) if e.detail and e.at_ms > newest.to_ms]
            newest.cause = (later[-1] if later else _UNTOLD)[:300]
        newest.save(update_fields=["cause"])
    before_ms = newest.to_ms if newest is not None else 0
    began_ms = since_ms if before_ms < since_ms <= last_ms else last_ms
    found = {"to_ms": last_ms, "looked_ms": now_ms, "epoch": epoch}
    Reception.objects.get_or_create(exchange=exchange, from_ms=began_ms, defaults=found)


def _began_anew(newest: Reception, last_ms: int, since_ms: int, *, was_succeeded: bool) -> bool | None:
    """Was data away although no look saw that? None: not known before every connection streams.

    A look may come late, or not for hours. The stream says since when it was not interrupted, and each reconnect leaves
    a gap; where neither explains the time, nothing ran.
    """
    if not was_succeeded and last_ms - newest.to_ms <= SILENT_MS:
        return False
    if not since_ms or was_succeeded:
        return was_succeeded if since_ms else None
    if since_ms - newest.to_ms <= SILENT_MS:
        return False
    between = {"to_ns__gt": newest.to_ms * 1_000_000, "to_ns__lte": (since_ms + 2 * SILENT_MS) * 1_000_000}
    return not Gap.objects.filter(exchange=newest.exchange_id, cause=str(Cause.DISCONNECT), **between).exists()


def _silent(newest: Reception, said: Mapping[str, str], last_ms: int, now_ms: int) -> None:
    """Nothing comes: because somebody wished so, or we note why. Once noted it stays an outage until data comes."""
    newest.to_ms, newest.looked_ms = max(newest.to_ms, last_ms), now_ms
    if not newest.cause and said.get("state") in _BY_WISH:
        newest.ended = STOPPED
    elif newest.cause in ("", _UNTOLD) and now_ms - newest.to_ms > SILENT_MS and not _is_quiet(said, now_ms):
        newest.cause = _why(said)[:300]
    newest.save(update_fields=["to_ms", "looked_ms", "ended", "cause"])


def _is_quiet(said: Mapping[str, str], now_ms: int) -> bool:
    """Is it a quiet market? The host, which knows each symbol's own pauses and asks by REST, misses nothing of most."""
    is_told = int(said.get("updated_ms") or 0) > now_ms - SILENT_MS and said.get("state") == State.STREAMING
    wanted, receiving = int(said.get("wanted") or 0), int(said.get("receiving") or 0)
    return is_told and 0 < wanted <= 2 * receiving


def _why(said: Mapping[str, str]) -> str:
    if not said:
        return "its stream host no longer reports"
    return said.get("reason") or _UNTOLD


def forget(now_ms: int) -> None:
    """Delete what ended so long ago that no uptime counts it."""
    Reception.objects.filter(to_ms__lt=now_ms - KEPT_MS).delete()
