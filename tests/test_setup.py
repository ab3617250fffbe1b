"""What a person sets up with is true of the code: .env.example, docker-compose.yml, Makefile, lock, documents."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from exchanges import registry
from livermore import processes, settings
from livermore.version import version

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if service.get("image") == "livermore"}
ALL_QUEUES = {q for w in processes.WORKERS.values() for q in processes.queues(w, registry.slugs())}


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_example_environment_names_exactly_what_the_settings_read() -> None:
    assert list(example()) == list(settings.env.scheme)


@pytest.mark.parametrize("name", sorted(example()))
def test_an_example_value_means_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, default = settings.env.scheme[name]
    monkeypatch.setenv(name, example()[name])
    read = settings.env.json(name) if kind is dict else settings.env(name)
    if name == "LIVERMORE_VAR":
        assert (settings.BASE_DIR / (read or "var")) == Path(default)
    else:
        assert read == default


@pytest.mark.parametrize("service", sorted(OWN))
def test_the_command_of_every_service_exists(service: str) -> None:
    interpreter, *words = OWN[service]["command"]
    assert interpreter == "python"
    match words:
        case ["manage.py", command, *arguments]:
            parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
            parser.parse_args(arguments)
        case ["-m", "celery", "-A", "livermore", role, *arguments]:
            import_module("livermore.celery")
            assert role in {"worker", "beat", "flower"}
            assert role != "worker" or set(option(arguments, "--queues").split(",")) <= ALL_QUEUES
        case ["-m", "uvicorn", target, *_]:
            module, _, name = target.partition(":")
            assert callable(getattr(import_module(module), name))
        case _:
            pytest.fail(f"{service} runs {words}, which nobody knows")


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


@pytest.mark.parametrize("profile", ["live", "simulators"])
def test_every_queue_has_a_worker_in_each_profile(profile: str) -> None:
    served = [
        queue
        for service in OWN.values()
        if "worker" in service["command"] and profile in service.get("profiles", [profile])
        for queue in option(service["command"], "--queues").split(",")
    ]
    assert sorted(served) == sorted(ALL_QUEUES)


def test_every_registered_venue_has_its_stream_service() -> None:
    streams = {name.removeprefix("stream-") for name in SERVICES if name.startswith("stream-")}
    assert streams == set(registry.slugs())
    for slug in streams:
        assert option(SERVICES[f"stream-{slug}"]["command"], "--autostart") == slug


def test_simulated_services_know_where_the_simulators_listen() -> None:
    ports = dict(pair.split("=") for pair in option(SERVICES["simulators"]["command"], "--ports").split(","))
    assert set(ports) == set(registry.slugs())
    for name in ("simulated-streams", "simulated-io"):
        endpoints = json.loads(SERVICES[name]["environment"]["EXCHANGE_ENDPOINTS"])
        assert {slug: address["rest"].rpartition(":")[2] for slug, address in endpoints.items()} == ports
        assert SERVICES[name]["network_mode"] == "service:simulators"


def test_no_secret_stands_in_the_compose_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEYS|AUTH|DATABASE_URL|BROKER_URL|REDIS_URL", variable):
                assert re.search(r"\$\{[A-Z_]+:(\?|-null\}$)", str(value)), f"{name}: {variable} must come from .env"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_started_again_and_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    if name == "migrate":
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    if name != "simulators":  # whoever uses them tells
        assert service["healthcheck"]["test"]


ROLE_OF = {"stream": "host", "simulated-streams": "host", "worker": "worker", "simulated-io": "worker"}
ROLE_OF |= {"flower": "worker"}


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_service_speaks_with_redis_as_its_role(name: str) -> None:
    role = ROLE_OF.get(name) or ROLE_OF.get(name.partition("-")[0]) or ("beat" if name == "beat" else "web")
    for variable in ("CELERY_BROKER_URL", "STATE_REDIS_URL"):
        wanted = rf"redis://{role}:\$\{{REDIS_{role.upper()}_PASSWORD:\?[^}}]*\}}@redis-(broker|state):6379/0"
        assert re.fullmatch(wanted, OWN[name]["environment"][variable])


HOSTS = sorted(name for name, service in SERVICES.items() if "stream_host" in service.get("command", ()))


@pytest.mark.parametrize("name", HOSTS)
def test_a_stream_hosts_health_is_asked_for_by_its_own_name(name: str) -> None:
    assert option(SERVICES[name]["healthcheck"]["test"], "--host") == option(SERVICES[name]["command"], "--name")


def test_flower_asks_for_a_login_and_forgets() -> None:
    told = SERVICES["flower"]["environment"]
    assert told["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")
    assert int(told["FLOWER_MAX_TASKS"]) <= 10_000
    assert int(told["FLOWER_PURGE_OFFLINE_WORKERS"]) > 0
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["flower"]["ports"])


def test_the_services_get_only_settings_that_exist() -> None:
    for name, service in OWN.items():
        ours = {v for v in service["environment"] if not v.startswith("FLOWER_")}
        assert ours <= set(settings.env.scheme), name


def test_the_lock_names_every_required_package_with_hashes_and_no_host() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==", lock, re.MULTILINE))
    wanted = re.findall(r"^([A-Za-z0-9._-]+)", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    assert {name.lower() for name in wanted} <= locked
    assert lock.count("--hash=sha256:") >= len(locked)
    assert "://" not in lock
    assert "--index" not in lock
    assert "--find-links" not in lock


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("run", "manage.py up"),
        ("run LIVE=1 EXCHANGES=coinbase,kucoin", "manage.py up --live --exchanges coinbase,kucoin"),
        ("run LIVE=0", "manage.py up"),
        ("test", "-m pytest"),
        ("bench", "-m tests.bench"),
    ],
)
def test_make_runs_what_the_readme_says(target: str, runs: str) -> None:
    command = ["make", "--dry-run", "--no-print-directory", *shlex.split(target)]
    # What the make that runs this suite was told must not reach this one.
    environment = {n: v for n, v in os.environ.items() if n not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"{re.escape(runs)}\s*($|-m)", printed.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bogus"], "unrecognized arguments: --bogus; accepted: [--live]"),
        (["--exchanges", "nowhere"], "unknown exchange nowhere; accepted: "),
        (["--seed", "x"], "invalid int value: 'x'"),
    ],
)
def test_wrong_arguments_of_up_are_answered_by_one_line(arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "up", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_the_version_is_the_newest_of_the_change_log() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version() == headings[0]


def test_the_architecture_page_is_short_enough_to_hold_in_mind() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "DATA_CONTRACT.md", "ADDING_AN_EXCHANGE.md"])
def test_files_that_the_documents_name_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:livermore|exchanges|symbols|candles|tests|proto)/[\w/.]*\w)`", text))
    named |= set(re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text))
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing, f"{page} names {missing}"


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "DATA_CONTRACT.md", "ADDING_AN_EXCHANGE.md"])
def test_management_commands_that_the_documents_name_exist(page: str) -> None:
    named = set(re.findall(r"manage\.py ([a-z_0-9]+)", (ROOT / page).read_text()))
    assert named <= {*get_commands(), "help"}
