"""Secrets that a local installation invents once and keeps under its data folder."""

from __future__ import annotations

import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path


def text(path: Path) -> str:
    """The secret kept in `path`, made on first use; readable by its owner only."""
    return _kept(path, secrets.token_urlsafe(48))


def fernet_key(path: Path) -> str:
    """A Fernet key (32 random bytes, URL-safe base64) kept in `path`."""
    return _kept(path, urlsafe_b64encode(os.urandom(32)).decode())


def _kept(path: Path, fresh: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(fresh)
        try:
            # Linking is atomic: of several processes starting at once one wins, and all read the winner's.
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return path.read_text().strip()
