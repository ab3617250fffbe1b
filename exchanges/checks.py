"""System checks of exchanges: the table against the adapters, and the names in the environment."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution
from django.db import DatabaseError

import proto
from exchanges import registry, services
from exchanges.models import Exchange
from livermore.core.errors import InvalidInput
from livermore.settings import env

PREFIX = "LIVERMORE_"
FIXTURES = Path("tests/venues/fixtures")


@register()
def registry_and_table_agree(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """W001: an enabled exchange without an adapter, or an adapter without a row."""
    try:
        rows = dict(Exchange.objects.values_list("slug", "enabled"))
    except DatabaseError:
        return []  # before the first migration there is nothing to compare
    adapters = registry.slugs()
    orphans = [slug for slug, is_enabled in rows.items() if is_enabled and slug not in adapters]
    return [
        Caution(
            f"exchange {slug!r} is enabled but has no adapter",
            hint="Disable it in the admin, or add its line to exchanges/registry.py.",
            id="livermore.W001",
        )
        for slug in orphans
    ] + [
        Caution(
            f"the adapter {slug!r} has no row in the table of exchanges",
            hint="Add the exchange in the admin.",
            id="livermore.W001",
        )
        for slug in adapters
        if slug not in rows
    ]


@register()
def every_venue_has_fixtures(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """W002: an adapter of ours without recorded frames; silent where the tests are not installed."""
    if not (settings.BASE_DIR / "tests").is_dir():
        return []
    return [
        Caution(
            f"the venue {slug!r} has no fixtures under {FIXTURES / slug}",
            hint="Record frames there; the contract tests need them.",
            id="livermore.W002",
        )
        for slug in registry.OURS
        if not (settings.BASE_DIR / FIXTURES / slug).is_dir()
    ]


@register()
def environment_is_in_the_schema(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E006: a variable with our prefix that no setting reads, most often a slip of the pen."""
    unknown = sorted(name for name in env.ENVIRON if name.startswith(PREFIX) and name not in env.scheme)
    return [
        Error(
            f"the environment sets {name}, which no setting reads",
            hint=f"Accepted: {' '.join(get_close_matches(name, env.scheme, n=1) or sorted(env.scheme))}.",
            id="livermore.E006",
        )
        for name in unknown
    ]


@register()
def venue_keys_can_be_used(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E008: VENUE_KEYS names no exchange of ours, or holds a key that its venue's sessions cannot use."""
    hint = 'Write {"<exchange>": {"name": "…", "private_key": "<PEM>"}}, or {} for none.'
    if not isinstance(settings.VENUE_KEYS, dict):
        return [Error("VENUE_KEYS is no JSON object", hint=hint, id="livermore.E008")]
    unusable = []
    for slug in settings.VENUE_KEYS:
        try:
            services.streamed_venue(slug)
        except InvalidInput as error:
            unusable.append(Error(str(error), hint=hint, id="livermore.E008"))
    return unusable


@register()
def message_schemas_are_new_enough(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """E007: the messages in `proto/` are of an older upstream state than a venue's mapper needs."""
    revised_on = proto.revised_on()
    needs = {slug: since for slug in registry.slugs() if (since := registry.venue(slug).schema_since)}
    return [
        Error(
            f"the mapper of {slug!r} reads messages of {since}, and proto/REVISION is of {revised_on}",
            hint="Compare proto/*.proto with the upstream repository, run proto/regenerate.sh, renew REVISION.",
            id="livermore.E007",
        )
        for slug, since in needs.items()
        if revised_on < since
    ]
