"""What one exchange's stream needs from outside, as values and functions that the entry point passes in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from exchanges.geo import Allowed, GeoRule, Location, Verdict, is_loopback, verdict
from exchanges.observed import Change
from exchanges.snapshot import StreamSnapshot
from exchanges.venue import Endpoint, Limits


class Streaming(Protocol):
    """The engine as its host uses it; `exchanges.stream.Stream` is one."""

    def start(self) -> None: ...
    def follow(self, natives: Collection[str], names: Mapping[str, str]) -> None: ...
    def roll(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self, timeout_s: float) -> bool: ...
    def snapshot(self) -> StreamSnapshot: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """An exchange's row as its host uses it.

    `may_overlap` tells that trade ids remove the duplicates of two engines that run at once;
    `config_version` says which edit of the row this is.
    """

    slug: str
    title: str
    is_enabled: bool
    endpoint: Endpoint
    is_endpoint_overridden: bool
    limits: Limits
    rule: GeoRule
    may_overlap: bool = True
    config_version: int = 0

    @classmethod
    def of(cls, row: Any, *, may_overlap: bool = True) -> Plan:
        """Read an `Exchange` row (with its alternative)."""
        return cls(
            slug=row.slug,
            title=row.title,
            is_enabled=row.enabled,
            endpoint=row.endpoint(),
            is_endpoint_overridden=row.is_endpoint_overridden,
            limits=row.limits(),
            rule=GeoRule.of(row),
            may_overlap=may_overlap,
            config_version=row.config_version,
        )

    @property
    def is_loopback(self) -> bool:
        """Do all its addresses stay on this machine?"""
        return is_loopback(self.endpoint)

    def verdict(self, where: Callable[[], Location]) -> Verdict:
        """May a host contact it? `where` is not asked when its addresses stay on this machine."""
        if self.is_loopback:
            return Allowed("its addresses are on this machine: nothing leaves it, no location check")
        return verdict(self.rule, where())


def _nobody(change: Change) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """`universe` gives native → canonical names to stream; `sync` must fill it when it is empty.

    `plans` reads every exchange's row. `stream` builds (does not start) an engine for a plan, its names
    and an epoch. `started` is called with the exchange and canonical names, of every started stream and
    of what comes to be streamed later.
    `locate` tells where this host is. `watch` sees every change of state in this process.
    """

    plans: Callable[[], Mapping[str, Plan]]
    universe: Callable[[str], Mapping[str, str]]
    sync: Callable[[Plan], None]
    stream: Callable[[Plan, Mapping[str, str], int], Streaming]
    started: Callable[[str, tuple[str, ...]], None]
    locate: Callable[[], Location]
    watch: Callable[[Change], None] = _nobody
