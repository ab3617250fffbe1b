"""What waits in the broker's queues: how many messages, which is the oldest, and since when it waits.

Every message says in its header when it was put there. On Redis a queue is a list, whose oldest message can be read
without taking it. RabbitMQ shows no message without handing it out, and marks it as delivered by that; there the age is
unknown, and a canary's journey (`candles.services.canary`) tells instead how long the way takes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import NotFound
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from exchanges import registry
from livermore import processes
from livermore.celery import PUBLISHED, app
from livermore.core.errors import StoreUnavailable

LATE_MS = 10_000
"""A message of a prompt queue that waits longer is worth a banner."""
TOO_LATE_MS = 60_000
"""One that waits longer makes us unready."""
TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue that holds messages. `oldest` is the id of the oldest one, `since_ms` when (UTC) it was put there; ""
    and None where the broker does not show it, and `consumers` None where it does not know who takes from it."""

    queue: str
    depth: int
    oldest: str = ""
    since_ms: int | None = None
    consumers: int | None = None

    @property
    def age_ms(self) -> int | None:
        """How long the oldest message has waited; None where that is unknown."""
        return None if self.since_ms is None else max(0, time.time_ns() // 1_000_000 - self.since_ms)


def prompt(slugs: Sequence[str]) -> list[str]:
    """The queues whose messages must not wait; what waits for a venue's answers may take its time."""
    kinds = [kind for kind in processes.WORKERS.values() if kind.is_prompt]
    return [name for kind in kinds for name in processes.queues(kind, slugs)]


def late(than_ms: int = LATE_MS) -> list[Waiting]:
    """Prompt queues whose oldest message has waited longer, the oldest first. Raises `StoreUnavailable`."""
    found = [one for one in look(prompt(registry.slugs())) if (one.age_ms or 0) > than_ms]
    return sorted(found, key=lambda one: one.since_ms or 0)


def look(names: Iterable[str]) -> list[Waiting]:
    """Those of the queues that hold messages. Raises `StoreUnavailable` when the broker does not answer."""
    limits = {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": TIMEOUT_S}
    try:
        with app.connection_for_read(connect_timeout=TIMEOUT_S) as broker:
            broker.transport_options = {**broker.transport_options, **limits}
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT_S)
            if hasattr(broker.default_channel, "client"):
                return _in_redis(broker.default_channel.client, list(names))
            return [found for name in names if (found := _in_rabbitmq(broker, name)) is not None]
    except (OperationalError, RedisError, OSError) as error:
        raise StoreUnavailable(f"the broker does not answer ({type(error).__name__})") from error


def _in_redis(client: Any, names: list[str]) -> list[Waiting]:
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.llen(name)
        pipe.lindex(name, -1)
    answers = iter(pipe.execute())
    read = zip(names, answers, answers, strict=True)
    return [_oldest(name, depth, message) for name, depth, message in read if message is not None]


def _oldest(name: str, depth: int, message: bytes) -> Waiting:
    headers = json.loads(message).get("headers", {})
    return Waiting(name, depth, str(headers.get("id", "")), headers.get(PUBLISHED))


def _in_rabbitmq(broker: Any, name: str) -> Waiting | None:
    # A channel each: the server closes the one on which an unknown queue was asked for.
    try:
        with broker.channel() as channel:
            found = channel.queue_declare(name, passive=True)
    except NotFound:
        return None
    return Waiting(name, found.message_count, consumers=found.consumer_count) if found.message_count else None
