"""The rules of ARCHITECTURE.md, checked on the syntax trees of every module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from exchanges import registry

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("livermore", "exchanges", "symbols", "candles", "proto")

PACKAGE_FILES = sorted((ROOT / "exchanges").glob("*/__init__.py"))

VOCABULARY, PURE, ADAPTER, SERVICE, ENTRY = range(5)

# The first row that fits a module's name says its layer.
LAYERS = (
    (VOCABULARY, "livermore.core*", "proto*"),
    (PURE, "candles.notify.matching", "candles.notify.wording"),
    (ADAPTER, "candles.notify.webhook", "candles.notify.chat"),
    (ENTRY, "*.tasks", "*.tasks.*", "*_tasks", "*.admin", "*.admin.*", "*.checks", "*.apps", "*.management*"),
    (ENTRY, "exchanges.account_admin", "symbols.position_admin"),
    (ENTRY, "exchanges.drift_admin", "symbols.errands", "candles.errands", "candles.upkeep"),
    (PURE, "exchanges.venue", "exchanges.lifecycle", "exchanges.batching", "exchanges.wire", "exchanges.framing"),
    (PURE, "exchanges.pacing", "exchanges.placement", "exchanges.silence", "exchanges.*.session", "exchanges.*.mapper"),
    (PURE, "exchanges.subscribing", "symbols.ranking", "candles.slab", "candles.fold", "candles.audit"),
    (PURE, "livermore.watch.ages", "livermore.watch.first"),
    (PURE, "exchanges.allowance", "exchanges.holdings", "candles.planning", "symbols.liquidity"),
    (PURE, "candles.outlier", "candles.indicators*", "candles.signals*"),
    (ADAPTER, "*.models", "exchanges.fields", "exchanges.seeds", "exchanges.credentials", "exchanges.state"),
    (ADAPTER, "exchanges.http", "exchanges.ratelimit", "exchanges.geo", "exchanges.lease", "exchanges.snapshot"),
    (ADAPTER, "exchanges.stream", "exchanges.connection", "exchanges.outbox", "exchanges.slot", "exchanges.transport"),
    (ADAPTER, "exchanges.vigil", "exchanges.lifeline", "exchanges.spool", "exchanges.segment"),
    (ADAPTER, "exchanges.cluster", "exchanges.crashes", "exchanges.clock"),
    (ADAPTER, "exchanges.simulation*", "exchanges.*.*", *(f"exchanges.{f.parent.name}" for f in PACKAGE_FILES)),
    (ADAPTER, "candles.ledger", "candles.window", "candles.publish", "candles.preview", "candles.pool"),
    (ADAPTER, "candles.legacy", "candles.legacy_models"),
    (ENTRY, "candles.legacy_admin"),
    (ADAPTER, "livermore.local_secret", "livermore.embedded", "livermore.logs", "livermore.version"),
    (ENTRY, "livermore.*"),
    # Registry, services, and what runs a venue.
    (SERVICE, "*"),
)
APPS = ("livermore", "exchanges", "symbols", "candles")  # the left never imports the right, below the entry points
VENUE_VARIANTS = {"exchanges.binance_us": "exchanges.binance"}
IMPURE = {
    *("django", "celery", "kombu", "redis", "requests", "websocket", "aiohttp", "environ"),
    *("socket", "ssl", "threading", "asyncio", "subprocess", "time", "logging", "os"),
}
SDKS = {"binance", "kucoin_universal_sdk"}
SPEAKS_OF_EXCHANGES = ("exchanges/registry.py", "exchanges/seeds.py", "exchanges/simulation/*", "exchanges/scenarios/*")
LONGEST_MODULE, LONGEST_FUNCTION = 300, 40
LONGEST_TEST_MODULE, LONGEST_TEST_FUNCTION = 600, 80


@dataclass(frozen=True)
class Module:
    """A source file, parsed."""

    path: Path
    tree: ast.Module

    @property
    def file(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    @property
    def layer(self) -> int:
        return layer_of(self.name)

    @property
    def app(self) -> str:
        return self.name.partition(".")[0]


def layer_of(name: str) -> int:
    return next(layer for layer, *patterns in LAYERS if any(fnmatch(name, p) for p in patterns))


@cache
def modules() -> tuple[Module, ...]:
    files = [f for package in PACKAGES for f in sorted((ROOT / package).rglob("*.py"))]
    return tuple(
        Module(f, ast.parse(f.read_text()))
        for f in files
        if "migrations" not in f.parts and not f.name.endswith("_pb2.py")
    )


@cache
def names() -> frozenset[str]:
    return frozenset(m.name for m in modules())


def imports(module: Module) -> Iterator[str]:
    """Dotted names this module imports, as deep as they name a module of ours."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in names() else node.module


def ours(module: Module) -> Iterator[str]:
    return (name for name in imports(module) if name in names())


def texts(module: Module) -> Iterator[str]:
    """Text constants that are no docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    docs |= {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def venue_of(name: str) -> str | None:
    """`exchanges.kucoin` for whatever lies in that venue's package."""
    package = ".".join(name.split(".")[:2])
    return package if package in venue_packages() else None


@cache
def venue_packages() -> frozenset[str]:
    """Registered or on the way there: whatever has a mapper."""
    written = {f"exchanges.{f.parent.name}" for f in (ROOT / "exchanges").glob("*/mapper.py")}
    return frozenset(written | {f"exchanges.{slug}" for slug in registry.slugs()})


def test_a_layer_imports_only_itself_and_lower_layers() -> None:
    upwards = [
        f"{module.name} (layer {module.layer}) imports {name} (layer {layer_of(name)})"
        for module in modules()
        for name in ours(module)
        if layer_of(name) > module.layer
    ]
    assert not upwards, "\n".join(upwards)


def test_below_the_entry_points_the_left_app_never_imports_the_right() -> None:
    wrong_way = [
        f"{module.name} imports {name}"
        for module in modules()
        if module.layer < ENTRY and module.app in APPS
        for name in ours(module)
        if (app := name.partition(".")[0]) in APPS and APPS.index(app) > APPS.index(module.app)
    ]
    assert not wrong_way, "\n".join(wrong_way)


def test_a_venue_is_imported_only_from_inside_or_by_a_declared_variant() -> None:
    intruders = [
        f"{module.name} imports {name}"
        for module in modules()
        for name in ours(module)
        if (venue := venue_of(name))
        and venue_of(module.name) != venue
        and VENUE_VARIANTS.get(venue_of(module.name) or "") != venue
    ]
    assert not intruders, "\n".join(intruders)


def test_the_vocabulary_and_the_pure_kernels_touch_no_framework_socket_clock_or_log() -> None:
    impure = [
        f"{module.name} imports {name}"
        for module in modules()
        if module.layer in (VOCABULARY, PURE)
        for name in imports(module)
        if name.partition(".")[0] in IMPURE
    ]
    assert not impure, "\n".join(impure)


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        f"{module.file}:{node.lineno}"
        for module in modules()
        if module.file != "livermore/settings.py"
        for node in environment_reads(module.tree)
    ]
    assert not readers, "\n".join(readers)


def environment_reads(tree: ast.Module) -> Iterator[ast.expr]:
    """Uses of `os.environ` that are no writes, `os.getenv`, and `environ.Env`."""
    written = {
        id(node.value if isinstance(node, ast.Subscript) else node.func.value)  # type: ignore[union-attr]
        for node in ast.walk(tree)
        if (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.setdefault", "os.environ.update"))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in written:
            if ast.unparse(node) in ("os.environ", "os.environb", "os.getenv", "environ.Env"):
                yield node
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (
                ast.Name(alias.name, lineno=node.lineno) for alias in node.names if alias.name in ("environ", "getenv")
            )


def test_reading_the_environment_is_recognised_and_writing_is_not() -> None:
    reads = "import os\nos.environ['A']\nos.environ.get('A')\nos.getenv('A')\nfrom os import environ\n"
    writes = "import os\nos.environ['A'] = 'b'\nos.environ.setdefault('A', 'b')\nos.environ.update(A='b')\n"
    assert len(list(environment_reads(ast.parse(reads)))) == 4
    assert list(environment_reads(ast.parse(writes))) == []


KEY_MODULES = ("keys", "channels", "signal_keys")


def test_only_the_keys_module_formats_redis_keys_and_channels() -> None:
    keys = [m for m in modules() if m.file in (f"livermore/core/{name}.py" for name in KEY_MODULES)]
    beginnings = {beginning for module in keys for beginning in formatted_beginnings(module)}
    whole = {text for module in keys for text in texts(module) if re.match(r"[a-z]+:[a-z]", text)}
    assert {"candles:", "usercandles:", "trades:", "channel:signal:"} <= beginnings
    assert "stream:signals" in whole
    formatted = [
        f"{module.file}: {text!r}"
        for module in modules()
        if module not in keys and module.file != "livermore/core/legacy_keys.py"  # the predecessor's names
        for text in {*(set(formatted_beginnings(module)) & beginnings), *(set(texts(module)) & whole)}
    ]
    assert not formatted, "\n".join(formatted)


def formatted_beginnings(module: Module) -> Iterator[str]:
    """What stands before the first value of each formatted text."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            yield str(node.values[0].value)


def test_no_exchange_is_named_outside_its_package_the_registry_and_the_seeds() -> None:
    named = [
        f"{module.file}: {text!r}"
        for module in modules()
        if not venue_of(module.name) and not any(fnmatch(module.file, p) for p in SPEAKS_OF_EXCHANGES)
        for text in texts(module)
        if " " not in text and set(re.split(r"[^a-z_]+", text)) & set(registry.slugs())
    ]
    assert not named, "\n".join(named)


def test_vendor_libraries_are_imported_only_by_rest_modules_of_venues() -> None:
    users = [
        f"{module.file} imports {name}"
        for module in modules()
        for name in imports(module)
        if name.partition(".")[0] in SDKS and not (venue_of(module.name) and module.path.name == "rest.py")
    ]
    assert not users, "\n".join(users)


@pytest.mark.parametrize("refused", ["ccxt", "kucoin-python"])
def test_libraries_that_the_owner_refused_are_not_used(refused: str) -> None:
    lock = (ROOT / "requirements.txt").read_text()
    assert not re.search(rf"^{refused}==", lock, re.MULTILINE)
    users = [m.file for m in modules() for name in imports(m) if name.partition(".")[0] == refused.replace("-", "_")]
    assert not users, "\n".join(users)


def test_every_module_begins_by_saying_what_belongs_there() -> None:
    silent = [m.file for m in modules() if m.tree.body and not ast.get_docstring(m.tree)]
    assert not silent, "\n".join(silent)


def test_modules_and_functions_fit_on_a_screen() -> None:
    tests = tuple(
        Module(f, ast.parse(f.read_text())) for f in sorted((ROOT / "tests").rglob("*.py")) if "fixtures" not in f.parts
    )
    too_long = [
        *oversized(modules(), LONGEST_MODULE, LONGEST_FUNCTION),
        *oversized(tests, LONGEST_TEST_MODULE, LONGEST_TEST_FUNCTION),
    ]
    assert not too_long, "\n".join(too_long)


def oversized(files: tuple[Module, ...], longest_module: int, longest_function: int) -> Iterator[str]:
    for module in files:
        lines = module.path.read_text().count("\n")
        if lines > longest_module:
            yield f"{module.file}: {lines} lines"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > longest_function:
                    yield f"{module.file}:{node.lineno} {node.name}: {size} lines"
