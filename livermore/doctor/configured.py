"""Are the settings fit for what they are used for? Django's own checks and ours, and what no check can know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.db import DatabaseError

from exchanges import registry
from livermore.core.errors import StoreUnavailable
from livermore.doctor.finding import Finding, Level, fail, ok, skip, warn

LEAST_SECRET = 32
FLOWER_WITHIN_S = 3.0
_HARMLESS = ("livermore.W002", "livermore.W005")
"""Of developers' concern only, and what the check of the state Redis says itself."""
_SCHEMES = {"rest": ("http", "https"), "ws": ("ws", "wss")}


def system_checks() -> Iterator[Finding]:
    """Every message of `manage.py check --database default`, in production with `--deploy`."""
    try:
        found = run_checks(databases=["default"], include_deployment_checks=settings.IS_PRODUCTION)
    except (DatabaseError, StoreUnavailable) as error:
        yield skip("settings", f"the database does not answer ({type(error).__name__})")
        return
    serious = [m for m in found if m.id not in _HARMLESS]
    for message in serious:
        yield _said(message)
    if not serious:
        yield ok("settings", "all system checks pass")


def _said(message: CheckMessage) -> Finding:
    is_ours = str(message.id).startswith("livermore.")
    level = Level.FAIL if message.is_serious() or is_ours else Level.WARN
    text = " ".join(str(message.msg).split())
    return Finding(str(message.id or "settings"), level, text, message.hint or "see manage.py check --deploy")


def secrets() -> Iterator[Finding]:
    """Long enough, and not the one of an example."""
    secret = settings.SECRET_KEY
    if len(secret) < LEAST_SECRET or len(set(secret)) < 5 or secret.startswith("django-insecure-"):
        fix = 'set SECRET_KEY to what `python -c "import secrets; print(secrets.token_urlsafe(50))"` prints'
        yield fail("secret_key", f"SECRET_KEY can be guessed: {len(secret)} characters", fix)
    else:
        yield ok("secret_key", "long and random" if settings.IS_PRODUCTION else "made here, kept under LIVERMORE_VAR")


def web() -> Iterator[Finding]:
    """Who may reach the web process, and what it shows them when it fails."""
    if settings.DEBUG:
        report = fail if settings.IS_PRODUCTION else warn
        yield report("debug", "DEBUG is on: errors show settings and source", "set DEBUG=False")
    else:
        yield ok("debug", "off")
    hosts = settings.ALLOWED_HOSTS
    if "*" in hosts:
        fix = "name the host names that the web process answers to in ALLOWED_HOSTS"
        yield fail("allowed_hosts", "every host name is taken: links in mails and redirects can be forged", fix)
    elif not hosts:
        yield fail("allowed_hosts", "empty: every request is refused", "name a host in ALLOWED_HOSTS")
    else:
        yield ok("allowed_hosts", " ".join(hosts))


def flower() -> Iterator[Finding]:
    """Flower shows arguments and can revoke tasks: without a login it must not answer."""
    if not settings.FLOWER_URL:
        yield ok("flower", "no FLOWER_URL: it is not linked to")
        return
    address = f"{settings.FLOWER_URL.rstrip('/')}/api/workers"
    try:
        with requests.Session() as session:
            session.trust_env = False
            status = session.get(address, timeout=FLOWER_WITHIN_S, allow_redirects=False).status_code
    except (requests.RequestException, ValueError) as error:
        says = f"does not answer at FLOWER_URL ({type(error).__name__})"
        yield warn("flower", says, "start it, or empty FLOWER_URL")
        return
    if status == 200:
        yield fail("flower", "answers without a login", "start it with FLOWER_BASIC_AUTH=user:password")
    else:
        yield ok("flower", f"asks for a login ({status})")


def endpoints() -> Iterator[Finding]:
    """EXCHANGE_ENDPOINTS: names that exist, addresses that can be."""
    told = settings.EXCHANGE_ENDPOINTS
    fix = 'write {"<exchange>": {"rest": "https://…", "ws": "wss://…"}} with one of: ' + " ".join(registry.slugs())
    wrong = list(_wrong(told)) if isinstance(told, dict) else ["it is no JSON object"]
    if wrong:
        yield fail("endpoints", f"EXCHANGE_ENDPOINTS: {'; '.join(wrong)}", fix)
    else:
        yield ok("endpoints", f"replaced: {' '.join(told)}" if told else "those of the exchanges' rows")


def _wrong(told: Mapping[str, Any]) -> Iterator[str]:
    for slug, addresses in told.items():
        if slug not in registry.slugs():
            yield f"{slug!r} is no exchange"
        elif not isinstance(addresses, dict):
            yield f"{slug} needs an object"
        else:
            yield from (f"{slug} {why}" for name, url in addresses.items() if (why := _why_not(name, url)))


def _why_not(name: str, url: Any) -> str:
    if name not in _SCHEMES:
        return f"has {name!r}, which is neither rest nor ws"
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in _SCHEMES[name] or not parts.hostname:
        return f"{name} must begin with {' or '.join(f'{scheme}://' for scheme in _SCHEMES[name])}"
    return ""
