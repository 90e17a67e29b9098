"""Programs as children of this one: started on a core of their own, measured from outside, ended by their id.

A child is told to end when the runner dies, however that happens, so an interrupted run leaves nothing behind.
"""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
# The proxy has one core to itself; the load and the upstream share the other. With one core all three share it, and the
# figures are still CPU time and not wall time.
PROXY_CORE, LOAD_CORE = CORES[0], CORES[-1]
ALL_CORES = set(CORES)


class Failed(Exception):
    """A program that does not start, answer or end as it should; the message says which and what it printed."""


class Child:
    """A started program. Use it in a `with`: it is ended when the block is left."""

    def __init__(self, name: str, command: list[str], folder: Path, cores: set[int]):
        self.name = name
        self.log = folder / f"{name.replace(' ', '-').replace('/', '-')}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: _become_child(cores),
            )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
        """Waits for a state; fails where the program ends first, or where the state does not come."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: {what} did not come in {seconds:.0f} s: {self.last_words()}")
            time.sleep(0.01)

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-800:].strip()

    def cpu_ns(self) -> int:
        """CPU time of the program, its threads and its children. The first field of schedstat is in nanoseconds."""
        total = 0
        for pid in _family(self.pid):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                try:
                    total += int((thread / "schedstat").read_text().split()[0])
                except FileNotFoundError:
                    continue  # a thread that ended between the listing and the reading
        return total

    def memory_bytes(self, field: str) -> int:
        """`VmRSS` (resident now) or `VmHWM` (the most since `forget_peak`)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"{self.name}: no {field} in its status")

    def family_memory_bytes(self) -> int:
        """What is resident now, the children included. What they share counts once for each, before as after."""
        total = 0
        for pid in _family(self.pid):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def run(command: list[str], seconds: float) -> str:
    """Runs a short program on the load core and answers what it printed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        preexec_fn=lambda: _become_child({LOAD_CORE}),
    )
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def free_port() -> int:
    """A port that nobody listens on; each is given once. The kernel gives none of them to outgoing connections."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no port is free")


def _family(pid: int) -> list[int]:
    pids = [pid]
    for parent in pids:
        for thread in Path(f"/proc/{parent}/task").iterdir():
            try:
                pids.extend(int(child) for child in (thread / "children").read_text().split())
            except FileNotFoundError:
                continue
    return pids


def _become_child(cores: set[int]) -> None:
    os.sched_setaffinity(0, cores)
    # Ctrl-C reaches only the runner, which then ends its children in order.
    os.setpgid(0, 0)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


# In another order in each run, so that two at the same time seldom meet.
_PORTS = iter(random.sample(range(20_000, 32_000), 12_000))
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
