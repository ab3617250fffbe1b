"""System checks of what carries and keeps candles: the queues' time-outs, the two Redis addresses, retention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Caution
from redis.exceptions import RedisError

from candles.services import alert_rules
from candles.services.retention import kept_days
from exchanges.state import state_redis, unavailable
from livermore.addresses import exposed
from livermore.core.errors import InvalidInput, StoreUnavailable

LONGEST_COUNTDOWN_S = 60
_KOMBU_VISIBILITY_TIMEOUT_S = 3600


@register()
def tasks_end_before_they_are_delivered_again(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E003: time limit + longest countdown must not exceed half of the broker's visibility timeout."""
    if not settings.CELERY_BROKER_URL.startswith(("redis", "sentinel")):
        return []  # only Kombu's Redis transport delivers by the clock
    options = getattr(settings, "CELERY_BROKER_TRANSPORT_OPTIONS", {})
    visible_s = options.get("visibility_timeout", _KOMBU_VISIBILITY_TIMEOUT_S)
    needed_s = settings.CELERY_TASK_TIME_LIMIT + LONGEST_COUNTDOWN_S
    if needed_s <= visible_s / 2:
        return []
    return [
        Error(
            f"a task may take {needed_s} s with its countdown, more than half of the visibility timeout "
            f"of {visible_s} s",
            hint="A task that outlives the visibility timeout is delivered again while it runs. Lower "
            f"CELERY_TASK_TIME_LIMIT or raise the visibility timeout to {2 * needed_s} s.",
            id="livermore.E003",
        )
    ]


@register()
def broker_is_no_cluster(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E004: Kombu's Redis transport uses commands over several keys, which a cluster refuses."""
    flags = parse_qs(urlsplit(settings.CELERY_BROKER_URL).query).get("cluster", ["false"])
    if flags[-1].lower() not in ("1", "true", "yes"):
        return []
    return [
        Error(
            "CELERY_BROKER_URL points to a Redis Cluster, on which Celery cannot work",
            hint="Use a standalone Redis, Sentinel or RabbitMQ; only STATE_REDIS_URL may be a cluster.",
            id="livermore.E004",
        )
    ]


@register()
def stores_are_not_reached_in_plain_text(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E010: a store beyond a public network needs TLS: passwords and credentials go there."""
    if settings.PLAIN_STORES_ALLOWED:
        return []
    base = settings.DATABASES["default"]
    host, mode = base.get("HOST", ""), base.get("OPTIONS", {}).get("sslmode", "")
    addresses = {
        "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
        "STATE_REDIS_URL": settings.STATE_REDIS_URL,
        "DATABASE_URL": f"postgres://{host if ':' not in host else f'[{host}]'}/?sslmode={mode}",
    }
    return [
        Error(
            f"{name}: {why}",
            hint="Use rediss://, amqps:// or ?sslmode=verify-full with certificates that are checked, or a VPN; "
            "PLAIN_STORES_ALLOWED=True takes the risk.",
            id="livermore.E010",
        )
        for name, url in addresses.items()
        if (why := exposed(url))
    ]


@register()
def retention_can_be_read(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E009: CANDLE_DAYS names timeframes, and days that are not too few."""
    try:
        kept_days()
    except InvalidInput as error:
        hint = "Nothing is deleted until it can be read."
        return [Error(str(error), hint=hint, id="livermore.E009")]
    return []


@register()
def alert_rules_can_be_read(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E011: ALERT_RULES names what there is."""
    try:
        alert_rules.current()
    except InvalidInput as error:
        return [Error(str(error), hint="No alert is raised until it can be read.", id="livermore.E011")]
    return []


@register(Tags.database)
def state_redis_never_evicts(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """W005: only with `--database`, because it asks the state Redis.

    Silent where that does not answer: whether it runs is not this check's question (`doctor` asks it).
    """
    if not databases:
        return []
    try:
        with unavailable():
            answer = state_redis().config_get("maxmemory-policy")
    except StoreUnavailable:
        return []
    except RedisError as error:
        return [Caution(f"the eviction policy of the state Redis is unknown: {error}", id="livermore.W005")]
    policies = {_text(policy) for policy in _policies(answer)}
    if policies <= {"noeviction"}:
        return []
    return [
        Caution(
            f"the state Redis evicts keys ({', '.join(sorted(policies))}): trades may vanish before they are folded",
            hint="Set maxmemory-policy to noeviction; memory is bounded by expiry.",
            id="livermore.W005",
        )
    ]


def _policies(answer: Any) -> list[Any]:
    """Of one server, or of every node of a cluster."""
    nodes = answer.values() if any(isinstance(v, dict) for v in answer.values()) else [answer]
    return [policy for node in nodes for policy in node.values()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
