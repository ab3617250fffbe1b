"""`doctor`: every fault planted one by one is found by its name, with what puts it right."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from exchanges import observed
from exchanges.models import Exchange
from livermore import addresses, embedded
from livermore.core import keys
from livermore.doctor import examine, install, rtt, running, stores
from livermore.doctor.finding import Finding, Level
from livermore.settings import env
from tests.support.http_server import Answer, http_server
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.web.market_data import now_ms

ROOT = Path(__file__).resolve().parent.parent
CLOSED = "http://127.0.0.1:1"


def found(check: str, *, is_offline: bool = True) -> dict[str, Finding]:
    """What one check says, by name."""
    wanted = examine.checks(is_offline=is_offline)
    return {finding.name: finding for finding in examine.examine({check: wanted[check]})}


def the_fault(check: str, name: str, *, says: str, fix: str, **how: Any) -> None:
    """The check fails under this name, and says what was seen and what to do."""
    finding = found(check, **how)[name]
    assert finding.level is Level.FAIL
    assert says in finding.says
    assert fix in finding.fix


@pytest.mark.parametrize("check", ["python", "packages", "proto", "disk", "secret_key", "endpoints", "flower"])
def test_what_is_well_is_one_line_without_a_fix(check: str, db: None, tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path
    said = found(check)
    assert said
    assert {finding.level for finding in said.values()} <= {Level.OK, Level.WARN}
    assert all(not finding.fix for finding in said.values() if finding.level is Level.OK)


# ---- what is installed ------------------------------------------------------------------------------


def test_another_python_than_the_locked_packages_are_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PYTHONS", ((2, 7),))
    the_fault("python", "python", says="Python 3.", fix="make run PYTHON=")


def test_a_package_that_differs_from_the_lock_and_one_that_is_missing(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "celery==1.0 \\\n    --hash=sha256:00\nnot-installed==2.0\nlinux-only==1 ; sys_platform == 'none'\n"
    )
    [finding] = install.packages(lock)
    assert finding.level is Level.FAIL
    assert "celery is 5." in finding.says
    assert "not-installed is missing" in finding.says
    assert "linux-only" not in finding.says
    assert "pip install -r requirements.txt" in finding.fix


def test_generated_messages_that_are_not_what_their_source_says(tmp_path: Path) -> None:
    text = (ROOT / "proto/mexc.proto").read_text()
    (tmp_path / "mexc.proto").write_text(text + "message New { string more = 1234; }\n")
    [finding] = install.messages(tmp_path)
    assert finding.level is Level.FAIL
    assert finding.fix == "run proto/regenerate.sh"


def test_a_spool_that_cannot_be_written_and_a_full_disk(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VAR_DIR = tmp_path
    (tmp_path / "spool").write_text("a file where a folder should be")
    the_fault("disk", "spool", says="cannot be written to", fix="a folder that the stream host's user may write to")
    monkeypatch.setattr(install, "LEAST_FREE_BYTES", 1 << 80)
    the_fault("disk", "disk", says="MB free", fix="LIVERMORE_VAR")


# ---- what is set ------------------------------------------------------------------------------------


def test_the_system_checks_are_among_the_findings(
    db: None, redis_state: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(env.ENVIRON, "LIVERMORE_REGOIN", "DE")
    settings.STATE_REDIS_URL = "redis://:hush@8.8.8.8:6379/0"
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:7000/0?cluster=true"
    the_fault("settings", "livermore.E004", says="Redis Cluster", fix="standalone Redis, Sentinel or RabbitMQ")
    the_fault("settings", "livermore.E006", says="LIVERMORE_REGOIN", fix="LIVERMORE_REGION")
    the_fault("settings", "livermore.E010", says="STATE_REDIS_URL: 8.8.8.8 is reached in plain text", fix="rediss://")
    assert "hush" not in str(found("settings"))
    settings.PLAIN_STORES_ALLOWED = True
    assert "livermore.E010" not in found("settings")


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("redis://10.1.2.3/0", False),
        ("redis://localhost/0", False),
        ("redis://[fd00::1]/0", False),
        ("redis://100.100.1.1/0", False),
        ("amqp://guest:guest@1.1.1.1//", True),
        ("redis://[2606:4700::1111]/0", True),
        ("sentinel://10.0.0.1:26379;sentinel://9.9.9.9:26379", True),
        ("rediss://1.1.1.1/0", False),
        ("rediss://1.1.1.1/0?ssl_cert_reqs=none", True),
        ("postgres://1.1.1.1/x?sslmode=prefer", True),
        ("postgres://1.1.1.1/x?sslmode=verify-full", False),
    ],
)
def test_plain_text_stays_within_private_networks(url: str, is_refused: bool) -> None:
    assert bool(addresses.exposed(url)) is is_refused


def test_a_secret_that_can_be_guessed(settings: Any) -> None:
    settings.SECRET_KEY = "change-me"
    the_fault("secret_key", "secret_key", says="9 characters", fix="secrets.token_urlsafe")
    assert "change-me" not in str(found("secret_key"))


def test_debug_in_production_and_any_host_name(settings: Any) -> None:
    settings.DEBUG, settings.IS_PRODUCTION, settings.ALLOWED_HOSTS = True, True, ["*"]
    the_fault("web", "debug", says="DEBUG is on", fix="DEBUG=False")
    the_fault("web", "allowed_hosts", says="every host name", fix="ALLOWED_HOSTS")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"kukoin": {"rest": "https://x"}}, "'kukoin' is no exchange"),
        ({"kucoin": {"rest": "x.com"}}, "kucoin rest must begin with http:// or https://"),
        ({"kucoin": {"http": "https://x"}}, "'http', which is neither rest nor ws"),
        ({"kucoin": "https://x"}, "kucoin needs an object"),
    ],
)
def test_endpoints_that_cannot_be(settings: Any, told: dict[str, Any], says: str) -> None:
    settings.EXCHANGE_ENDPOINTS = told
    the_fault("endpoints", "endpoints", says=says, fix='{"rest": "https://…", "ws": "wss://…"}')


def test_a_flower_that_asks_nobody_for_a_login(settings: Any) -> None:
    with http_server(lambda asked: Answer({})) as open_to_all:
        settings.FLOWER_URL = f"{open_to_all.url}/flower/"
        the_fault("flower", "flower", says="without a login", fix="FLOWER_BASIC_AUTH")
    with http_server(lambda asked: Answer({}, status=401)) as closed:
        settings.FLOWER_URL = f"{closed.url}/flower/"
        assert found("flower")["flower"].level is Level.OK


# ---- stores -----------------------------------------------------------------------------------------


@contextmanager
def configured(client: redis.Redis, **options: str) -> Iterator[None]:
    """The server is set so for a while."""
    names = {name.replace("_", "-"): value for name, value in options.items()}
    before = {name: client.config_get(name)[name] for name in names}
    for name, value in names.items():
        client.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)


def test_a_sound_redis_is_so_in_every_respect(redis_state: Any) -> None:
    for check, name in (("state_redis", "state_redis"), ("broker", "broker")):
        said = found(check)
        respects = ("", ".role", ".version", ".eviction", ".persistence", ".memory")
        assert {f"{name}{respect}" for respect in respects} <= set(said)
        assert {finding.level for finding in said.values()} == {Level.OK}, said


@pytest.mark.parametrize("check", ["state_redis", "broker"])
def test_a_redis_that_evicts(redis_state: Any, check: str) -> None:
    with configured(redis_state, maxmemory_policy="allkeys-lru"):
        the_fault(check, f"{check}.eviction", says="allkeys-lru", fix="maxmemory-policy to noeviction")


@pytest.mark.parametrize("check", ["state_redis", "broker"])
def test_a_redis_that_forgets_at_a_restart(redis_state: Any, check: str) -> None:
    with configured(redis_state, appendonly="no"):
        the_fault(check, f"{check}.persistence", says="a restart loses", fix="appendonly to yes")


def test_a_redis_that_is_nearly_full(redis_state: Any) -> None:
    with configured(redis_state, maxmemory=str(redis_state.info("memory")["used_memory"])):
        the_fault("state_redis", "state_redis.memory", says="of maxmemory", fix="raise maxmemory")


def test_a_state_redis_that_is_a_replica(tmp_path: Path, settings: Any) -> None:
    server = RedisServer.start(tmp_path)
    try:
        settings.STATE_REDIS_URL = server.state_url
        redis.Redis.from_url(server.state_url).replicaof("127.0.0.1", 1)
        the_fault("state_redis", "state_redis.role", says="slave", fix="to the master")
    finally:
        server.stop()


def test_a_cluster_under_the_broker_and_under_a_state_that_does_not_say_so(tmp_path: Path, settings: Any) -> None:
    from livermore.celery import app

    server = _cluster_node(tmp_path)
    try:
        settings.STATE_REDIS_URL = settings.CELERY_BROKER_URL = app.conf.broker_url = server.broker_url
        the_fault("state_redis", "state_redis", says="node of a Cluster", fix="?cluster=true")
        the_fault("broker", "broker", says="is a Redis Cluster", fix="standalone Redis, Sentinel or RabbitMQ")
    finally:
        server.stop()


def _cluster_node(folder: Path) -> RedisServer:
    """The embedded server once more, as a node of a Cluster."""
    RedisServer.start(folder).stop()
    config = folder / "redis" / "redis.conf"
    config.write_text(config.read_text() + "cluster-enabled yes\n")
    process = subprocess.Popen([embedded._program(), str(config)], stdout=subprocess.DEVNULL)
    until(lambda: embedded.is_running(folder))
    return RedisServer(folder, process)


@pytest.mark.parametrize("check", ["state_redis", "broker"])
def test_a_store_that_does_not_answer_is_named_without_its_password(
    redis_state: Any, settings: Any, check: str
) -> None:
    from livermore.celery import app

    settings.STATE_REDIS_URL = settings.CELERY_BROKER_URL = app.conf.broker_url = "redis://:hush@127.0.0.1:1/0"
    the_fault(check, check, says="redis://127.0.0.1:1/0 does not answer", fix="_URL: host, port, user, password")
    assert "hush" not in str(found(check))


@pytest.mark.parametrize(
    ("ahead_ms", "level"), [(40.0, Level.OK), (-400.0, Level.WARN), (-5_000.0, Level.FAIL), (1_050.0, Level.WARN)]
)
def test_a_clock_counts_by_what_exceeds_its_uncertainty(ahead_ms: float, level: Level) -> None:
    finding = stores.clock("clock.redis", ahead_ms, 60.0)
    assert finding.level is level
    assert bool(finding.fix) is (level is not Level.OK)


# ---- who works --------------------------------------------------------------------------------------


def test_queues_that_nobody_takes_from(db: None, redis_state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", (0.1,))
    the_fault(
        "workers",
        "workers",
        says="backfill.mexc, candles, default",
        fix="worker-ticks (make run, or docker compose) with the queues ",
    )
    redis_state.hset(keys.stream("kucoin"), "state", "streaming")
    assert "ticks.mexc.0" not in found("workers")["workers"].says


def test_a_beat_that_never_ran_and_one_that_stopped(db: None, redis_state: Any) -> None:
    the_fault("beat", "beat", says="no schedule ever ran", fix="celery -A livermore beat")
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(hours=2))
    the_fault("beat", "beat", says="the last schedule ran", fix="celery -A livermore beat")
    redis_state.hset(
        keys.schedules_ran(), mapping={"symbols.sync": now_ms() - 3_600_000, "candles.sweep": now_ms() - 5_000}
    )
    assert found("beat")["beat"].level is Level.OK


def test_a_schedule_that_was_switched_off(db: None, redis_state: Any) -> None:
    PeriodicTask.objects.filter(name="symbols.sync").update(enabled=False)
    finding = found("beat")["schedules"]
    assert finding.level is Level.WARN
    assert "symbols.sync" in finding.says


# ---- exchanges --------------------------------------------------------------------------------------


def test_a_place_that_is_unknown(db: None, settings: Any) -> None:
    settings.LIVERMORE_REGION = "Nowhere"
    the_fault("geo", "geo.kucoin", says="location is unknown", fix="LIVERMORE_REGION")


def test_an_exchange_that_excludes_this_place_and_what_may_be_used_instead(db: None, settings: Any) -> None:
    settings.LIVERMORE_REGION = "US-CA"
    said = found("geo")
    assert said["geo.coinbase"].level is Level.OK
    assert said["geo.binance"].level is Level.WARN
    assert "use binance_us here" in said["geo.binance"].fix


def test_a_rule_that_nobody_has_looked_at_for_long(db: None, settings: Any) -> None:
    settings.LIVERMORE_REGION = "DE"
    Exchange.objects.filter(pk="kucoin").update(geo_verified_at=timezone.now().date() - timedelta(days=400))
    finding = found("geo")["geo.kucoin.age"]
    assert "400 days ago" in finding.says
    assert "https://" in finding.fix


def test_a_venue_that_does_not_answer_and_one_that_must_not_be_asked(db: None, redis_state: Any, settings: Any) -> None:
    settings.LIVERMORE_REGION = "Nowhere"
    settings.EXCHANGE_ENDPOINTS = {"mexc": {"rest": CLOSED, "ws": "ws://127.0.0.1:1"}}
    the_fault("reach", "reach.mexc", says="REST does not answer", fix="network and firewall", is_offline=False)
    assert found("reach", is_offline=False)["reach.kucoin"].level is Level.SKIP


def test_the_round_trip_and_a_clock_that_is_wrong(db: None, redis_state: Any, settings: Any) -> None:
    with http_server(lambda asked: Answer({"serverTime": now_ms() + 5_000})) as venue:
        settings.EXCHANGE_ENDPOINTS = {"mexc": {"rest": venue.url, "ws": "ws://127.0.0.1:1"}}
        said = found("reach")
    assert "RTT p50" in said["reach.mexc"].says
    assert said["clock.mexc"].level is Level.FAIL
    assert "NTP" in said["clock.mexc"].fix
    [p50_ms] = rtt.told(["mexc"])["mexc"].values()
    assert p50_ms > 0


def test_what_a_host_measured_of_its_own_clock(db: None, redis_state: Any) -> None:
    measured = {"host": "far", "clock_offset_ms": "-2500.0", "clock_uncertainty_ms": "20.0"}
    redis_state.hset(keys.stream("kucoin"), mapping=measured | {"clock_measured_ms": now_ms()})
    the_fault("host_clocks", "clock.far.kucoin", says="-2500.0 ms", fix="NTP")


def test_the_host_that_may_run_an_exchange_is_suggested_and_the_nearest_of_several(db: None, redis_state: Any) -> None:
    for name, region, able in (("us-1", "US-CA", ["coinbase"]), ("sg-1", "SG", ["kucoin", "coinbase"])):
        slugs = Exchange.objects.values_list("slug", flat=True)
        served = {slug: {"state": "idle", "reason": "", "may_run": slug in able} for slug in slugs}
        observed.register(name, "o")
        observed.beat(name, {"owner": "o", "state": "ready", "region": region, "reason": "", "exchanges": served})
    redis_state.hset(keys.rtt("coinbase"), mapping={"us-1": f"4.0|{now_ms()}", "sg-1": f"180.0|{now_ms()}"})
    said = found("hosts")
    assert "best run by sg-1 (SG)" in said["host.kucoin"].says
    assert "best run by us-1 (US-CA, RTT p50 4 ms)" in said["host.coinbase"].says
    assert said["host.mexc"].level is Level.WARN
    assert "LIVERMORE_REGION" in said["host.mexc"].fix


def test_a_host_without_a_sign_of_life(redis_state: Any) -> None:
    observed.register("near", "o")
    observed.beat("near", {"owner": "o", "state": "ready", "region": "DE", "reason": "", "exchanges": {}})
    [alive], [dead] = list(running.heartbeat("near")), list(running.heartbeat("far"))
    assert alive.level is Level.OK
    assert (dead.level, dead.name) == (Level.FAIL, "heartbeat.far")
    assert "alive: near" in dead.says
    assert "stream_host --name far" in dead.fix


# ---- the command ------------------------------------------------------------------------------------


def _run(var: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "LIVERMORE_REGION")}
    own |= {"LIVERMORE_VAR": str(var), "CELERY_BROKER_URL": "", "STATE_REDIS_URL": "", **environment}
    command = [sys.executable, "manage.py", "doctor", "--offline", *arguments]
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)


def test_before_the_first_start_everything_that_is_missing_is_told(tmp_path: Path) -> None:
    done = _run(tmp_path, "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    said = json.loads(done.stdout)
    faults = {one["name"]: one["fix"] for one in said["findings"] if one["level"] == "fail"}
    assert said["ok"] is False
    assert set(faults) == {"migrations", "state_redis", "broker"}
    assert faults["migrations"] == "python manage.py migrate"


@pytest.mark.parametrize(
    ("name", "value"), [("SPOOL_MAX_MB", "much"), ("EXCHANGE_ENDPOINTS", "{bad"), ("LIVERMORE_ENV", "production")]
)
def test_settings_that_cannot_be_read_are_a_finding_as_well(tmp_path: Path, name: str, value: str) -> None:
    done = _run(tmp_path, "--json", **{name: value, "SECRET_KEY": ""})
    assert done.returncode == 1
    [fault] = json.loads(done.stdout)["findings"]
    assert fault["name"] == "settings"
    assert (name if name != "LIVERMORE_ENV" else "SECRET_KEY") in fault["says"]
    assert ".env.example" in fault["fix"]


def test_one_line_a_finding_and_the_exit_code(settings: Any) -> None:
    said = io.StringIO()
    call_command("doctor", "--only", "python,secret_key", stdout=said)
    assert [line.split()[:2] for line in said.getvalue().splitlines()[:2]] == [["ok", "python"], ["ok", "secret_key"]]
    settings.SECRET_KEY = "x"
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--only", "secret_key", stdout=said)
    assert ended.value.code == 1
    with pytest.raises(CommandError, match="unknown check nothing; accepted: python "):
        call_command("doctor", "--only", "nothing")


def test_a_check_with_a_bug_hides_no_other() -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("surprise")

    said = list(examine.examine({"broken": broken, "python": install.python}))
    assert [finding.name for finding in said] == ["broken", "python"]
    assert "surprise" in said[0].says
