"""May the exchanges be contacted from here, do they answer, how far away are they, and which host should run them?"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from statistics import median
from urllib.parse import urlsplit

from django.conf import settings

from exchanges import geo, observed, registry, services
from exchanges.clock import CALLS, KNOWN_FOR_MS, Call, Estimate, estimate, resolution_ms
from exchanges.metadata import GEO_RULES_LAST_DAYS
from exchanges.models import Exchange
from livermore.core.errors import LivermoreError, StoreUnavailable
from livermore.doctor import rtt
from livermore.doctor.finding import Finding, fail, ok, skip, warn
from livermore.doctor.stores import clock

ANSWER_WITHIN_S = 12.0
"""All exchanges are asked at once; who has not answered by then does not."""


def rows() -> list[Exchange]:
    """The enabled exchanges that have an adapter."""
    return list(Exchange.objects.select_related("geo_alternative").filter(enabled=True, pk__in=registry.slugs()))


def geography(*, is_offline: bool) -> Iterator[Finding]:
    """What each exchange's rule says of this host; nobody but the public trace is asked, and no venue."""
    for row in rows():
        name = f"geo.{row.slug}"
        if not _may_ask_where(row, is_offline):
            yield skip(name, "offline, and LIVERMORE_REGION is not set")
            continue
        yield _allowed(name, row)
        if geo.is_loopback(row.endpoint()):
            continue
        age = date.today() - row.geo_verified_at if row.geo_verified_at else None  # noqa: DTZ011 (a day, not a time)
        if age is None or age.days > GEO_RULES_LAST_DAYS:
            says = f"its rule was last looked at {f'{age.days} days ago' if age else 'never'}"
            yield warn(f"{name}.age", says, f"compare with {row.geo_source_url or row.terms_url}, correct in the admin")


def _may_ask_where(row: Exchange, is_offline: bool) -> bool:
    return bool(not is_offline or settings.LIVERMORE_REGION or geo.is_loopback(row.endpoint()))


def _allowed(name: str, row: Exchange) -> Finding:
    said = services.geo_verdict(row)
    if isinstance(said, geo.Allowed):
        return ok(name, said.why)
    if said.code in (geo.Why.UNKNOWN, geo.Why.SUBDIVISION_UNKNOWN):
        return fail(name, said.why, "set LIVERMORE_REGION to this host's ISO 3166 code, such as DE or US-CA")
    instead = f"use {said.alternative} here, or " if said.alternative else ""
    return warn(name, said.why, f"{instead}run its stream_host where that is allowed, or disable it in the admin")


def hosts() -> Iterator[Finding]:
    """Which live stream host should run each exchange: one that may, the nearest by what `doctor` measured there."""
    try:
        live = observed.live_hosts()
        measured = rtt.told([row.slug for row in rows()])
    except StoreUnavailable:
        yield skip("hosts", "the state Redis does not answer")
        return
    if not live:
        yield skip("hosts", "no stream host is live")
        return
    for row in rows():
        able = [host for host in live if host.may_run(row.slug)]
        name = f"host.{row.slug}"
        if not able:
            where = ", ".join(f"{host.name} ({host.region or 'place unknown'})" for host in live)
            fix = "start a stream_host where it is allowed, or set LIVERMORE_REGION there"
            yield warn(name, f"none of the live hosts may run it: {where}", fix)
            continue
        by_host = measured[row.slug]
        best = min(able, key=lambda host: (by_host.get(host.name, float("inf")), host.name))
        far = f", RTT p50 {by_host[best.name]:.0f} ms" if best.name in by_host else ""
        yield ok(name, f"best run by {best.name} ({best.region or 'this machine only'}{far})")


def reachable(*, is_offline: bool) -> Iterator[Finding]:
    """Names resolve and REST answers, with the round trip; only where that is allowed. One question in a few calls."""
    asked, answers = [], queue.Queue[list[Finding]]()
    for row in rows():
        if is_offline and not geo.is_loopback(row.endpoint()):
            yield skip(f"reach.{row.slug}", "offline")
        elif isinstance(services.geo_verdict(row), geo.Blocked):
            yield skip(f"reach.{row.slug}", "not allowed from here")
        else:
            asked.append(row)
            # A daemon: a name server that never answers must not keep the command from ending.
            threading.Thread(target=_ask, args=(row, answers), daemon=True).start()
    silent = {row.slug for row in asked}
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while silent:
        try:
            found = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        silent.discard(found[0].name.partition(".")[2])
        yield from found
    for slug in sorted(silent):
        yield fail(f"reach.{slug}", f"no answer within {ANSWER_WITHIN_S:.0f} s", _connect(slug))


def _ask(row: Exchange, answers: queue.Queue[list[Finding]]) -> None:
    name = f"reach.{row.slug}"
    try:
        answers.put(_measured(name, row))
    except StoreUnavailable:
        answers.put([skip(name, "the state Redis, which counts the requests, does not answer")])
    except (LivermoreError, OSError) as error:
        answers.put([fail(name, f"REST does not answer: {error}", _connect(row.slug))])


def _measured(name: str, row: Exchange) -> list[Finding]:
    endpoint = row.endpoint()
    for host in sorted({urlsplit(url).hostname for url in (endpoint.rest, endpoint.ws) if url} - {None}):
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            fix = "look at this machine's DNS, and at the address in the admin"
            return [fail(name, f"the name {host} does not resolve", fix)]
    rest = registry.venue(row.slug).rest(endpoint, services.budget(row.slug))
    calls = [_call(rest.time_ms) for _ in range(CALLS)]
    p50_ms = median(call.took_ns for call in calls[1:]) / 1e6  # the first one connects
    rtt.tell(row.slug, p50_ms)
    seen = estimate(calls, resolution_ms(calls))
    return [ok(name, f"RTT p50 {p50_ms:.1f} ms"), clock(f"clock.{row.slug}", seen.offset_ms, seen.uncertainty_ms)]


def _call(time_ms: Callable[[], int]) -> Call:
    sent_ns, began_ns = time.time_ns(), time.monotonic_ns()
    told_ms = time_ms()
    return Call(sent_ns, time.monotonic_ns() - began_ns, told_ms)


def _connect(slug: str) -> str:
    return f"look at this machine's network and firewall, and at the addresses of {slug} in the admin"


def host_clocks() -> Iterator[Finding]:
    """What the stream hosts measured: their own clocks against the venues'."""
    slugs: Sequence[str] = [row.slug for row in rows()]
    try:
        told = {slug: observed.stream_state(slug) for slug in slugs}
    except StoreUnavailable:
        yield skip("clock.hosts", "the state Redis does not answer")
        return
    now_ms = time.time_ns() // 1_000_000
    for slug, said in told.items():
        if not said.get("clock_measured_ms"):
            continue
        seen = Estimate(
            float(said["clock_offset_ms"]), float(said["clock_uncertainty_ms"]), int(said["clock_measured_ms"])
        )
        if now_ms - seen.measured_ms < KNOWN_FOR_MS:
            yield clock(f"clock.{said['host']}.{slug}", seen.offset_ms, seen.uncertainty_ms)
