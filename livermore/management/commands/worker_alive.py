"""`worker_alive`: does a worker take what waits for it? For the health check of a container."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from exchanges import registry
from livermore import processes, queues
from livermore.command_line import OneLineCommand
from livermore.core.errors import StoreUnavailable
from livermore.progress import Watch

LOOK_EVERY_S = 0.2


class Command(OneLineCommand):
    """Exit 0 as soon as something was taken or nothing waits, 1 when nothing was taken for too long.

    A broker that does not answer is not the worker's fault: 0.
    """

    help = "Tell whether a worker takes messages from its queues, by what it takes and not by whether it answers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The worker's name, and what differs from the list in `livermore/processes.py`."""
        parser.add_argument("name", choices=sorted(processes.WORKERS))
        parser.add_argument("--queues", default="", metavar="a,b", help="its queues, where they are not the usual ones")
        parser.add_argument("--for", type=float, dest="for_s", metavar="S", help="how long nothing may be taken")

    def handle(self, **options: Any) -> None:
        """Look until something is taken."""
        kind = processes.WORKERS[options["name"]]
        names = [name for name in options["queues"].split(",") if name] or processes.queues(kind, registry.slugs())
        longest_s = options["for_s"] or kind.stuck_after_s
        watch = Watch(names, longest_s)
        first: dict[str, str] | None = None
        while True:
            try:
                waiting = {one.queue: one for one in queues.look(names)}
            except StoreUnavailable:
                return
            oldest = {name: one.oldest or f"{one.consumers}" for name, one in waiting.items()}
            first = oldest if first is None else first
            is_taken = any(oldest.get(name) != mark for name, mark in first.items())
            if is_taken or not waiting or any(one.consumers for one in waiting.values()):
                return
            if not watch.see(waiting, time.monotonic()):
                depth = sum(one.depth for one in waiting.values())
                where = ", ".join(sorted(waiting))
                raise CommandError(f"took nothing for {longest_s:g} s although {depth} messages wait in {where}")
            time.sleep(LOOK_EVERY_S)
