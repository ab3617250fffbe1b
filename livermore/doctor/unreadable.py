"""What `doctor` can say where not even the settings can be read; imports nothing that needs them."""

from __future__ import annotations

import json
from dataclasses import asdict

from livermore.doctor.finding import fail


def tell(why: str, *, as_json: bool) -> int:
    """Print the one finding; returns the exit code."""
    found = fail("settings", why, "set it in the environment or in .env; .env.example lists what there is")
    print(json.dumps({"ok": False, "findings": [asdict(found)]}) if as_json else found)  # noqa: T201 (a command)
    return 1
