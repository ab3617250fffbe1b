"""A real Chromium, driven over its own debugging protocol; tests skip where none is installed."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.web.site import PATIENCE_S, Site, eventually

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Chromium:
    """One tab; `log` collects what the page complained of."""

    def __init__(self, folder: Path) -> None:
        program = next((p for p in PROGRAMS if shutil.which(p)), None)
        if program is None:
            pytest.skip("no Chromium is installed; apt-get install chromium")
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        options += ["--remote-allow-origins=*", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars"]
        self.process = subprocess.Popen(
            [program, *options, f"--user-data-dir={folder}", "about:blank"], stderr=subprocess.DEVNULL
        )
        told = folder / "DevToolsActivePort"
        eventually(lambda: told.exists() and told.read_text().strip())
        self.port = told.read_text().split()[0]
        # The first start of a browser may take its time on a busy machine.
        self.socket = websocket.create_connection(eventually(self._page, 60), timeout=PATIENCE_S)
        self._ids = itertools.count(1)
        self.log: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _page(self) -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/json") as answer:
            pages = [t for t in json.loads(answer.read()) if t["type"] == "page"]
        return pages[0]["webSocketDebuggerUrl"] if pages else None

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; what the page says meanwhile goes to `log`."""
        number = next(self._ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
            self.log.append(said["params"]["entry"]["text"])
        if said.get("method") == "Runtime.exceptionThrown":
            self.log.append(json.dumps(said["params"]["exceptionDetails"])[:500])

    def log_in(self, site: Site) -> None:
        """Use the session of the site's user."""
        self.call("Network.setCookie", name="sessionid", value=site.session, url=f"http://127.0.0.1:{site.port}/")

    def size(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """The window, and whether the system prefers dark or light."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Go there and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        eventually(lambda: self.ask("document.readyState === 'complete' && location.href !== 'about:blank'"))

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression: str, patience_s: float = PATIENCE_S) -> Any:
        """Until the expression is true."""
        return eventually(lambda: self.ask(expression), patience_s)

    def picture(self, file: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=10)


