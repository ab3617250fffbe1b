"""redis-py's client of a Cluster, whose pipelines also take what touches one key and what wakes one channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import RedisCluster
from redis.cluster import ClusterPipeline


class StateCluster(RedisCluster):
    """A Cluster that holds the state: each command goes to the node of its one key."""

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        """One for each node, as redis-py splits it; never a transaction."""
        staged = super().pipeline(transaction or None, shard_hint)
        # redis-py makes it with arguments that differ from version to version.
        staged.__class__ = _StatePipeline
        return staged

    def register_script(self, script: str) -> OneKeyScript:  # type: ignore[override]
        """As redis-py's, usable in pipelines."""
        return OneKeyScript(self, script)


@dataclass(frozen=True)
class OneKeyScript:
    """A script by its text: a Cluster's nodes know no digests of it beforehand, and a pipeline cannot ask them."""

    client: Any
    text: str

    def __call__(self, keys: Sequence[Any], args: Sequence[Any] = (), client: Any = None) -> Any:
        """Run it, or add it to a pipeline."""
        by = self.client if client is None else client
        return by.execute_command("EVAL", self.text, len(keys), *keys, *args)


class _StatePipeline(ClusterPipeline):
    def publish(self, channel: str, message: Any, **_: Any) -> Any:
        """Every node hears it; it goes to the one of the slot that a key of the channel's name would have."""
        return self.execute_command("PUBLISH", channel, message)
