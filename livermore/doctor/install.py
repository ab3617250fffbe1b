"""Is what runs here complete: the interpreter, the locked packages, the generated messages, the disk?"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from packaging.requirements import Requirement

import proto
from exchanges import registry
from exchanges.models import Exchange
from livermore.doctor.finding import Finding, fail, ok, warn

PYTHONS = ((3, 11), (3, 12))
LEAST_FREE_BYTES = 512 * 1024**2
MANY = 5
_FIELD = re.compile(r"(?:repeated\s+|optional\s+)?[\w.]+\s+(\w+)\s*=\s*(\d+)\s*;")


def python() -> Iterator[Finding]:
    """The version that the locked packages are made for."""
    here = sys.version_info[:2]
    says = f"Python {sys.version.split()[0]}"
    if here in PYTHONS:
        yield ok("python", says)
    else:
        yield fail("python", f"{says}; 3.11 and 3.12 are known to work", "make run PYTHON=python3.12")


def packages(lock: Path | None = None) -> Iterator[Finding]:
    """What is installed against `requirements.txt`."""
    wrong, count = [], 0
    for line in (lock or settings.BASE_DIR / "requirements.txt").read_text().splitlines():
        if not re.match(r"[A-Za-z0-9]", line):
            continue
        wanted = Requirement(line.split(" --hash")[0].rstrip("\\ "))
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        count += 1
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} is {found}, locked is {str(wanted.specifier).removeprefix('==')}")
    if wrong:
        more = f" and {len(wrong) - MANY} more" if len(wrong) > MANY else ""
        fix = "install what is locked: python -m pip install -r requirements.txt"
        yield fail("packages", "; ".join(wrong[:MANY]) + more, fix)
    else:
        yield ok("packages", f"{count} as locked")


def messages(folder: Path | None = None) -> Iterator[Finding]:
    """Do the generated modules import, and say what the `.proto` files beside them say?"""
    fix = "run proto/regenerate.sh"
    folder = folder or Path(proto.__file__).parent
    stale = []
    for source in sorted(folder.glob("*.proto")):
        try:
            module = import_module(f"proto.{source.stem}_pb2")
        except Exception as error:  # generated code fails in its own ways against another runtime
            yield fail("proto", f"proto/{source.stem}_pb2.py does not import: {type(error).__name__}: {error}", fix)
            return
        if _written(source.read_text()) != _made(module.DESCRIPTOR.message_types_by_name.values()):
            stale.append(f"proto/{source.stem}_pb2.py is not what {source.name} makes")
    if stale:
        yield fail("proto", "; ".join(stale), fix)
    else:
        yield ok("proto", f"as of {proto.revised_on()}")


def _written(text: str) -> set[tuple[str, int]]:
    return {(name, int(number)) for name, number in _FIELD.findall(re.sub(r"//.*", "", text))}


def _made(messages: Any) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for message in messages:
        found |= {(field.name, field.number) for field in message.fields} | _made(message.nested_types)
    return found


def disk() -> Iterator[Finding]:
    """Room under LIVERMORE_VAR, and a spool that can be written to."""
    var = Path(settings.VAR_DIR)
    free = shutil.disk_usage(var if var.is_dir() else var.parent).free
    if free < LEAST_FREE_BYTES:
        yield fail("disk", f"{_mb(free)} free under {var}", "make room, or move LIVERMORE_VAR to a larger disk")
    else:
        yield ok("disk", f"{_mb(free)} free under {var}")
    yield from _spool(var / "spool", free)


def _spool(folder: Path, free: int) -> Iterator[Finding]:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"written")
        used = sum(file.stat().st_size for file in folder.rglob("*.seg"))
    except OSError as error:
        says = f"{folder} cannot be written to ({error.strerror}): frames would wait in memory only"
        yield fail("spool", says, "make it a folder that the stream host's user may write to")
        return
    most = settings.SPOOL_MAX_MB * 1024**2 * _enabled()
    says = f"{_mb(used)} wait on disk, at most {_mb(most)} may"
    if settings.SPOOL_MAX_MB <= 0:
        yield fail("spool", f"SPOOL_MAX_MB is {settings.SPOOL_MAX_MB}", "set SPOOL_MAX_MB to some hundreds at least")
    elif most - used > free:
        fix = "lower SPOOL_MAX_MB or make room: the disk would be full before the bound is reached"
        yield warn("spool", f"{says}, and {_mb(free)} are free", fix)
    else:
        yield ok("spool", says)


def _enabled() -> int:
    try:
        return Exchange.objects.filter(enabled=True).count()
    except DatabaseError:
        return len(registry.slugs())  # the database has a line of its own


def _mb(count: int) -> str:
    return f"{count // 1024**2} MB"
