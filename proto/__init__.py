"""The protobuf messages of venues that send binary frames, and of which upstream state they are."""

from __future__ import annotations

from datetime import date
from pathlib import Path


def revised_on() -> date:
    """The day of the upstream state that the `.proto` files were last compared with.

    Raises `ValueError` when REVISION does not end in a day.
    """
    return date.fromisoformat(Path(__file__).with_name("REVISION").read_text().split()[-1])
