"""Does a worker take what waits for it? One that answers pings may still consume nothing.

After a broker restart Celery's workers sometimes stay connected and take no message any more (celery #8030, #8091,
#10205). So progress is judged by the queues alone: one whose oldest message stays the same is not consumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from livermore.queues import Waiting


@dataclass
class Watch:
    """One worker's queues as seen again and again; `stuck_after_s` is how long nothing may be taken from any."""

    queues: Sequence[str]
    stuck_after_s: float
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def see(self, waiting: Mapping[str, Waiting], now_s: float) -> bool:
        """Note what waits now (queue → its oldest message); True while the worker takes something, or need not.

        Of a broker that shows no message only this is known: something waits and nobody at all consumes.
        """
        ours = {name: waiting[name] for name in self.queues if name in waiting}
        for name in set(self._seen) - set(ours):
            del self._seen[name]
        for name, one in ours.items():
            mark = one.oldest or str(one.consumers == 0)
            if name not in self._seen or self._seen[name][0] != mark or one.consumers:
                self._seen[name] = (mark, now_s)
        return not ours or any(now_s - since_s < self.stuck_after_s for _, since_s in self._seen.values())

    def forget(self) -> None:
        """Another process does the work from now on."""
        self._seen.clear()
