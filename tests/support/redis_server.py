"""A real Redis for tests: the embedded server, started once in a folder of its own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from livermore import embedded

BROKER_DATABASE = 0
STATE_DATABASE = 1


@dataclass(frozen=True)
class RedisServer:
    """A running server; `broker_url` and `state_url` are two databases of it."""

    var_dir: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, var_dir: Path) -> RedisServer:
        """Start one and wait until it answers."""
        return cls(var_dir, embedded.start(var_dir))

    @property
    def broker_url(self) -> str:
        """For `CELERY_BROKER_URL`."""
        return embedded.url(self.var_dir, BROKER_DATABASE)

    @property
    def state_url(self) -> str:
        """For `STATE_REDIS_URL`."""
        return embedded.url(self.var_dir, STATE_DATABASE)

    def environment(self) -> dict[str, str]:
        """What a child process needs to use the same server."""
        return {"CELERY_BROKER_URL": self.broker_url, "STATE_REDIS_URL": self.state_url}

    def stop(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait(timeout=10)
