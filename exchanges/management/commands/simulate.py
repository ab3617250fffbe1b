"""`simulate`: the venue simulators alone, on loopback, until a signal ends them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from exchanges.simulation.stage import Options
from exchanges.simulator import Simulation, available
from livermore.command_line import OneLineCommand
from livermore.core.errors import InvalidInput

USAGE_ERROR = 2


class Command(OneLineCommand):
    """Prints where the venues listen as one JSON line, in the shape of EXCHANGE_ENDPOINTS."""

    help = "Serve the venue simulators on loopback until SIGINT or SIGTERM."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="venues to simulate (all by default)")
        parser.add_argument("--seed", type=int, default=1, help="same seed, same start: same market")
        parser.add_argument("--start-ms", type=int, default=None, help="where the market's clock begins (now)")
        parser.add_argument("--scenario", default=None, help="a file, or one of those shipped: calm leader faults")
        parser.add_argument("--pace", type=float, default=1.0, help="multiplies the number of trades")
        parser.add_argument("--scale", type=float, default=1.0, help="multiplies pings and other periods")
        parser.add_argument("--delays", default="", help="frames leave so many seconds later: NAME=SECONDS,…")
        parser.add_argument("--ports", default="", help="fixed ports: NAME=PORT,NAME=PORT")
        parser.add_argument("--ports-file", type=Path, default=None, help="write the endpoints there, too")
        parser.add_argument("--resume", type=Path, default=None, help="keep the market there and go on with it")
        parser.add_argument("--json", action="store_true", help="print the JSON line and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._serve(options))
        except InvalidInput as error:
            self.stderr.write(f"simulate: {error}")
            sys.exit(USAGE_ERROR)
        except OSError as error:
            self.stderr.write(f"simulate: cannot listen: {error}")
            sys.exit(USAGE_ERROR)

    async def _serve(self, options: dict[str, Any]) -> None:
        simulation = Simulation(
            options["names"],
            seed=options["seed"],
            start_ms=options["start_ms"],
            scenario=options["scenario"],
            resume=options["resume"],
            pace=_positive("--pace", options["pace"]),
            ports=_ports(options["ports"]),
            options=Options(scale=_positive("--scale", options["scale"]), delays_s=_delays(options["delays"])),
        )
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with simulation:
            line = json.dumps(simulation.endpoints)
            if options["ports_file"]:
                _replace(options["ports_file"], line + "\n")
            self.stdout.write(line)
            if not options["json"]:
                self.stderr.write(f"simulating {', '.join(simulation.servers)} until Ctrl-C")
            self.stdout.flush()
            await stop.wait()


def _positive(name: str, number: float) -> float:
    if not 0 < number < 1e6:
        raise InvalidInput(f"{name} must be above 0, not {number:g}")
    return number


def _ports(text: str) -> dict[str, int]:
    ports = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in available() or not number.isdigit() or int(number) > 65_535:
            raise InvalidInput(f"--ports: {part!r} is not NAME=PORT; names: {' '.join(available())}")
        ports[name] = int(number)
    return ports


def _delays(text: str) -> dict[str, float]:
    delays = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in available() or not re.fullmatch(r"\d{1,3}(\.\d+)?", number):
            raise InvalidInput(f"--delays: {part!r} is not NAME=SECONDS; names: {' '.join(available())}")
        delays[name] = float(number)
    return delays


def _replace(file: Path, text: str) -> None:
    """Whoever waits for the file sees all of it or nothing."""
    fresh = file.with_name(file.name + ".part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
