"""A real HTTP server on a free loopback port, answering as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: a JSON value, or text of some content type; `delay_s` before a word is said."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    content_type: str = "application/json"
    delay_s: float = 0.0


@dataclass(slots=True)
class HttpServer:
    """`url` is the base address; `asked` grows with every request."""

    url: str
    asked: list[Asked]
    is_closing: threading.Event


@contextmanager
def http_server(answer: Callable[[Asked], Answer]) -> Iterator[HttpServer]:
    """Serves until the block ends."""
    asked: list[Asked] = []
    is_closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Asked(parts.path, dict(parse_qsl(parts.query)), dict(self.headers), self.command, sent)
            asked.append(request)
            said = answer(request)
            is_closing.wait(said.delay_s)
            text = json.dumps(said.body) if said.text is None else said.text
            self.send_response(said.status)
            for name, value in {"Content-Type": said.content_type, **said.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            """Silent: pytest's output is for failures."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that gave up waiting is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield HttpServer(f"http://127.0.0.1:{server.server_address[1]}", asked, is_closing)
    finally:
        is_closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
