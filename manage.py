#!/usr/bin/env python3
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    """Run one management command; settings that cannot be read are one line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if sys.argv[1:2] == ["doctor"]:
            from livermore.doctor.unreadable import tell

            sys.exit(tell(str(error), as_json="--json" in sys.argv))
        sys.exit(f"settings: {error}")


if __name__ == "__main__":
    main()
