"""Rounds: each starts every arm afresh, in an order of its own, and takes its CPU time per request.

A fresh start each time lets the layout of memory differ from round to round, so that it is part of the interval and not
of the result.
"""

import json
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from arms import Arm, Site, Tools
from load import answers
from nginx import upstream_command
from processes import LOAD_CORE, Child, Failed, free_port


@dataclass(frozen=True)
class Pace:
    rounds: int
    warm_seconds: float
    seconds: float
    # Rounds of the faults, which take longer each.
    fault_rounds: int


FULL = Pace(rounds=9, warm_seconds=1, seconds=3, fault_rounds=5)
QUICK = Pace(rounds=3, warm_seconds=1, seconds=1, fault_rounds=2)


class Raw:
    """Every measurement as one JSON line, written as it is made, so that an interrupted run keeps what it had."""

    def __init__(self, file: IO[str]):
        self.file = file

    def write(self, **record: object) -> None:
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()


@contextmanager
def upstream() -> Iterator[int]:
    """The nginx behind all arms; answers its port."""
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as name:
        folder, port = Path(name), free_port()
        with Child("upstream", upstream_command(folder, port), folder, {LOAD_CORE}) as child:
            child.wait_until(lambda: answers(port), "an answer")
            yield port


@contextmanager
def started(arm: Arm, upstream_port: int, tools: Tools) -> Iterator[tuple[Child, Site]]:
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as name:
        site = Site(Path(name), free_port(), upstream_port, tools)
        with arm.start(site) as child:
            yield child, site


def cpu_rounds(arms: list[Arm], pace: Pace, tools: Tools, raw: Raw, say) -> list[dict[str, float]]:
    """By round and arm: CPU microseconds per request."""
    order = random.Random()
    rounds = []
    with upstream() as upstream_port:
        for number in range(pace.rounds):
            cpu = {}
            for arm in order.sample(arms, len(arms)):
                say(f"round {number + 1} of {pace.rounds}: {arm.name}")
                cpu[arm.name] = _cpu_per_request(arm, pace, upstream_port, tools, raw, number)
            rounds.append(cpu)
    return rounds


def _cpu_per_request(arm: Arm, pace: Pace, upstream_port: int, tools: Tools, raw: Raw, number: int) -> float:
    with started(arm, upstream_port, tools) as (child, site):
        arm.load(arm, site.port, pace.warm_seconds)
        before = child.cpu_ns()
        load = arm.load(arm, site.port, pace.seconds)
        spent = child.cpu_ns() - before
        micros = spent / 1000 / load.requests
        # Busy tells whether the proxy or the load generator was the one that waited.
        busy = spent / 1e9 / load.seconds
        raw.write(
            kind="cpu", round=number, arm=arm.name, cpu_ns=spent, cpu_us_per_request=micros, busy=busy, **asdict(load)
        )
        if load.failed:
            raise Failed(f"{arm.name}: {load.failed} of {load.requests} requests failed: {child.last_words()}")
        return micros


def runnable(arms: Iterable[Arm], tools: Tools, say) -> list[Arm]:
    """The arms whose programs are there; the others are named, not passed over in silence."""
    found = []
    for arm in arms:
        missing = arm.missing(tools)
        if missing:
            say(f"left out: {arm.name} (no {missing})", keep=True)
        else:
            found.append(arm)
    return found
