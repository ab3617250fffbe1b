"""All checks in the order in which a person would ask, and one run of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial

from livermore.doctor import configured, install, running, stores, venues
from livermore.doctor.finding import Check, Finding, fail
from livermore.doctor.running import needs_tables

log = logging.getLogger(__name__)


def checks(*, is_offline: bool) -> dict[str, Check]:
    """By name. `is_offline` asks nobody but what this deployment itself consists of."""
    return {
        "python": install.python,
        "packages": install.packages,
        "proto": install.messages,
        "disk": install.disk,
        "settings": configured.system_checks,
        "secret_key": configured.secrets,
        "web": configured.web,
        "endpoints": configured.endpoints,
        "flower": configured.flower,
        "database": stores.database,
        "state_redis": stores.state,
        "broker": stores.broker,
        "clock": stores.database_clock,
        "workers": needs_tables(running.workers, "workers"),
        "beat": running.beat,
        "geo": needs_tables(partial(venues.geography, is_offline=is_offline), "geo"),
        "reach": needs_tables(partial(venues.reachable, is_offline=is_offline), "reach"),
        "host_clocks": needs_tables(venues.host_clocks, "clock.hosts"),
        "hosts": needs_tables(venues.hosts, "hosts"),
    }


def examine(wanted: dict[str, Check], on_way: Callable[[str], None] = lambda what: None) -> Iterator[Finding]:
    """What each check finds, as it finds it; `on_way` is told which one is under way."""
    for name, check in wanted.items():
        on_way(f"checking {name}")
        try:
            yield from check()
        except Exception as error:
            # The top of a loop that must go on: a check with a bug hides no other.
            log.debug("doctor.check_failed", exc_info=True)
            says = f"the check itself failed: {type(error).__name__}: {error}"
            yield fail(name, says, "run it again with LOG_LEVEL=DEBUG and report the traceback")
