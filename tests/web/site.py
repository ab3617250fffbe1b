"""A real web process: its own database, uvicorn on a free port, and clients that keep a connection open."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
_PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.test import Client
from exchanges.models import Exchange
from livermore.web.models import ApiToken
from symbols.models import ExchangeSymbol
Exchange.objects.update(enabled=True)
user = User.objects.create_superuser("operator", password="correct horse battery")
for slug in Exchange.objects.values_list("slug", flat=True):
    for rank, base in enumerate(("BTC", "ETH"), start=1):
        quote = "USD" if slug == "coinbase" else "USDT"
        ExchangeSymbol.objects.create(exchange_id=slug, native=base + quote, base=base, quote=quote, tier=1, rank=rank)
client = Client()
client.force_login(user)
print(ApiToken.objects.issue(user, "test")[1], client.cookies["sessionid"].value)
"""


@dataclass
class Site:
    """A running web process and the credentials of its one user."""

    port: int
    token: str
    session: str
    environment: dict[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] = field(repr=False)

    @classmethod
    def start(cls, folder: Path, redis_server: RedisServer) -> Site:
        """Prepare a database in `folder`, start uvicorn and wait until it answers."""
        environment = {
            **os.environ,
            **redis_server.environment(),
            "DJANGO_SETTINGS_MODULE": "livermore.settings",
            "LIVERMORE_VAR": str(folder),
            "DATABASE_URL": f"sqlite:///{folder / 'site.sqlite3'}",
        }
        prepared = subprocess.run(
            [sys.executable, "-c", _PREPARE], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        token, session = prepared.stdout.split()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        site = cls(port, token, session, environment, cls._run(port, environment))
        site.wait()
        return site

    @staticmethod
    def _run(port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "uvicorn", "livermore.asgi:application", "--port", str(port)]
        options = ["--lifespan", "off", "--timeout-graceful-shutdown", "1", "--log-level", "warning"]
        return subprocess.Popen([*command, *options], cwd=ROOT, env=environment)

    def wait(self) -> None:
        """Until it answers."""
        eventually(lambda: self.get("/health/live")[0] == 200)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(timeout=10)

    def restart(self) -> None:
        """The same address again after a stop."""
        self.process = self._run(self.port, self.environment)
        self.wait()

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one request with the token; (0, b"") when nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def listen(self, channels: str, last_event_id: str = "") -> Listener:
        """Open the event stream and read its hello."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.token}"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        connection.request("GET", f"/api/v1/stream?channels={channels}", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        listener = Listener(connection, answer)
        listener.hello = listener.next("hello")
        return listener


@dataclass(frozen=True)
class Heard:
    """One server-sent event."""

    name: str
    id: str
    data: Any


class Listener:
    """Reads events; every read waits at most `PATIENCE_S`."""

    hello: Heard

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self.connection, self._answer = connection, answer
        self._events = self._parsed()

    def next(self, name: str = "") -> Heard:
        """The next event, or the next of that name."""
        return next(e for e in self._events if not name or e.name == name)

    def close(self) -> None:
        """Hang up."""
        self._answer.close()
        self.connection.close()

    def _parsed(self) -> Iterator[Heard]:
        fields: dict[str, str] = {}
        while line := self._answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n" and "event" in fields:
                yield Heard(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            if line == "\n":
                fields = {}
            elif name:
                fields[name] = value


def eventually(is_true: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Waits until the question is answered with yes, and returns the answer."""
    deadline = time.monotonic() + patience_s
    while not (answer := is_true()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return answer
