"""A recording played back: the frames a venue once sent, byte for byte, to whoever subscribes."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from exchanges.simulation.connection import Connection


@dataclass(frozen=True, slots=True)
class Playback:
    """`ws_file` holds one frame a line (`t`, `conn`, `dir`, `text` or `b64`), `rest_file` responses.

    Every connection hears the whole recording once, from its first message (or from connecting, where the
    address names the streams or carries the token of a venue that speaks first), at `speed` times the
    recorded pace; None means as fast as it reads.
    """

    venue: str
    ws_file: Path
    rest_file: Path | None = None
    speed: float | None = None

    def frames(self) -> list[tuple[float | None, str | bytes]]:
        """The venue's frames in order, each with the second at which it was received."""
        found: list[tuple[float | None, str | bytes]] = []
        for line in _lines(self.ws_file):
            frame = json.loads(line)
            if frame["dir"] == "in":
                payload = base64.b64decode(frame["b64"]) if "b64" in frame else frame["text"]
                found.append((frame["t"], payload))
        return found

    def answers(self) -> dict[str, str]:
        """Recorded response bodies by path."""
        if self.rest_file is None:
            return {}
        rows: list[dict[str, Any]] = []
        if ".jsonl" in self.rest_file.name:
            rows = [json.loads(line) for line in _lines(self.rest_file)]
        else:
            rows = [json.loads("".join(_lines(self.rest_file)))]
        return {urlsplit(r["url"]).path: r["text"] if "text" in r else json.dumps(r["body"]) for r in rows}

    async def play(self, connection: Connection) -> None:
        """Send everything once; the connection stays open afterwards."""
        previous_s: float | None = None
        for at_s, payload in self.frames():
            if self.speed and at_s is not None:
                if previous_s is not None and at_s > previous_s:
                    await asyncio.sleep((at_s - previous_s) / self.speed)
                previous_s = at_s
            connection.send(payload, is_trade=True)


def _lines(file: Path) -> list[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        return list(lines)
