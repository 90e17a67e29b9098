"""Requests: one by hand to prove what a proxy does, many by `wrk` to load it, paced ones by `h2load` for latency.

Latency is never taken from a saturating load: there it only says how long the queue of the load generator is.
"""

import http.client
import itertools
import re
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from processes import LOAD_CORE, Child, Failed, run

CONNECTIONS = 32


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    port: int,
    path: str = "/",
    headers: dict[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = None,
    over_tls: bool = False,
) -> Answer:
    if over_tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=_trusting())
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def _trusting() -> ssl.SSLContext:
    """For certificates that were made a moment ago."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answers(
    port: int,
    path: str = "/",
    headers: dict[str, str] | None = None,
    over_tls: bool = False,
    method: str = "GET",
    body: bytes | None = None,
) -> bool:
    """Whether the proxy and the upstream behind it are both there."""
    try:
        return ask(port, path, headers, method, body, over_tls).status == 200
    except OSError:
        return False


@dataclass(frozen=True)
class Load:
    requests: int
    seconds: float
    failed: int


def saturate(
    port: int,
    path: str,
    headers: dict[str, str],
    seconds: float,
    connections: int = CONNECTIONS,
    more: list[str] | None = None,
) -> Load:
    """Keep-alive connections that each ask again as soon as they are answered."""
    fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    # wrk's duration is whole seconds.
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        *fields,
        *(more or []),
        f"http://127.0.0.1:{port}{path}",
    ]
    return counted(run(command, seconds))


def saturate_posts(port: int, path: str, headers: dict[str, str], body: bytes, seconds: float) -> Load:
    """The same with a body."""
    escaped = "".join(f"\\{byte:03}" for byte in body)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = \"{escaped}\"\n")
        script.flush()
        return saturate(port, path, headers, seconds, more=["-s", script.name])


def counted(printed: str) -> Load:
    """What `wrk` says it did. A response that is not 2xx or 3xx is a failure, and so is a connection that ended."""
    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", printed)
    if not total or int(total[1]) == 0:
        raise Failed(f"wrk got no answer: {printed}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    failed = (int(refused[1]) if refused else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return Load(int(total[1]), float(total[2]) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[total[3]], failed)


def handshakes(port: int, seconds: float, resumed: bool) -> Load:
    """Connections over TLS one after the other, each with a full handshake (or one that takes up the session of the one
    before) and one request, which brings the ticket for the next."""
    kind = "-reuse" if resumed else "-new"
    # s_time's duration is whole seconds.
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-www", "/", kind, "-time", str(max(1, round(seconds)))]
    return counted_handshakes(run(command, seconds), resumed)


def counted_handshakes(printed: str, resumed: bool) -> Load:
    """What `openssl s_time` says it did: a letter for each connection, `r` for one that was resumed. The first one that
    could be is not counted by it."""
    total = re.findall(r"(\d+) connections in (\d+) real seconds", printed)
    letters = re.search(r"^([rt*3]{2,})$", printed, re.MULTILINE)
    if not total or not letters or int(total[-1][0]) == 0:
        raise Failed(f"openssl made no handshake: {printed[-400:]}")
    wrong = sum(1 for letter in letters[1] if (letter == "r") != resumed)
    return Load(int(total[-1][0]), float(total[-1][1]), wrong)


def saturate_http2(port: int, path: str, seconds: float) -> Load:
    """Eight connections over TLS with sixteen requests under way on each."""
    command = ["h2load", "-t1", "-c8", "-m16", f"--duration={max(1, round(seconds))}", f"https://127.0.0.1:{port}{path}"]
    return counted_http2(run(command, seconds))


def counted_http2(printed: str) -> Load:
    """What `h2load` says it did."""
    took = re.search(r"finished in ([\d.]+)(ms|s|m)", printed)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", printed)
    agreed = "Application protocol: h2" in printed
    if not took or not counts or int(counts[1]) == 0 or not agreed:
        raise Failed(f"h2load got no answer over HTTP/2: {printed[-400:]}")
    seconds = float(took[1]) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[took[2]]
    return Load(int(counts[1]), seconds, sum(map(int, counts.groups()[1:])))


@dataclass(frozen=True)
class Paced:
    """What a paced load saw: how many requests ended, how many of them failed, and how long they took, as if open."""

    requests: int
    failed: int
    micros: list[int]

    @staticmethod
    def merged(parts: list["Paced"]) -> "Paced":
        micros = sorted(micro for part in parts for micro in part.micros)
        return Paced(sum(part.requests for part in parts), sum(part.failed for part in parts), micros)

    @property
    def p99_us(self) -> int:
        return self.micros[len(self.micros) * 99 // 100]

    def summary(self) -> dict[str, int]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "p50_us": self.micros[len(self.micros) // 2],
            "p99_us": self.p99_us,
            "max_us": self.micros[-1],
        }


class PacedLoad:
    """An `h2load` under way, so that something can be done to the proxy meanwhile."""

    def __init__(
        self,
        folder: Path,
        port: int,
        path: str,
        headers: dict[str, str],
        seconds: int,
        per_second: int = 2000,
        clients: int = 16,
    ):
        self.seconds = seconds
        self.pause_us = round(clients / per_second * 1e6)
        self.lines = folder / f"paced-{next(_NUMBER)}.tsv"
        fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        pace = ["--h1", "-t1", f"-c{clients}", f"--rps={per_second / clients:g}", f"--duration={seconds}"]
        command = ["h2load", *pace, f"--log-file={self.lines}", *fields, f"http://127.0.0.1:{port}{path}"]
        self.child = Child("h2load", command, folder, {LOAD_CORE})

    @property
    def running(self) -> bool:
        return self.child.process.poll() is None

    def result(self) -> Paced:
        self.child.process.wait(timeout=self.seconds + 30)
        requests = [line.split("\t") for line in self.lines.read_text().splitlines()]
        counted = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", self.child.log.read_text())
        if not requests or not counted:
            raise Failed(f"h2load got no answer: {self.child.last_words()}")
        not_2xx = sum(1 for line in requests if not line[1].startswith("2"))
        failed = max(not_2xx, sum(map(int, counted.groups())))
        return Paced(len(requests), failed, as_if_open((int(line[2]) for line in requests), self.pause_us))


def as_if_open(micros: Iterable[int], pause_us: int) -> list[int]:
    """Adds, sorted in, the requests that a client held back while it waited for a slow answer.

    A client has one request under way, so a stall of a second delays one request of each client and hides the others
    that would have come meanwhile: each of those is counted with the rest of the stall (as HdrHistogram corrects it).
    """
    return sorted(late for micro in micros for late in (micro, *range(micro - pause_us, 0, -pause_us)))


def paced(folder: Path, port: int, path: str, headers: dict[str, str], seconds: int) -> Paced:
    load = PacedLoad(folder, port, path, headers, seconds)
    with load.child:
        return load.result()


_NUMBER = itertools.count()
