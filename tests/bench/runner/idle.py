"""What a connection costs that does nothing: memory per idle connection, beside the peers.

Every connection has carried one request, so that what a proxy keeps for the next one is there. Counted is what the
proxy's processes grow by from a hundred connections to ten thousand: what it takes once is not in it, and neither is the
table that nginx makes for all of its connections when it starts. Each proxy is given the time to let go of what it held for
the request.
"""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gateway
import haproxy
import nginx
from arms import Arm, Tools, needs
from figures import against_the_better, figure
from measure import Pace, Raw, started, upstream
from processes import Failed
from report import Line

ARMS = [
    Arm("gateway", gateway.plain, gateway.needs_gateway()),
    Arm("nginx", nginx.many_connections, needs("nginx")),
    Arm("haproxy", haproxy.many_connections, needs("haproxy")),
]
WHAT = "memory of an idle connection, at 10,000, vs the better of nginx and haproxy"
BAR, AIM = 1.2, 0.95
FEW, MANY = 100, 10_000
CALM_SECONDS = 6


def lines(only: str, pace: Pace, tools: Tools, raw: Raw, say) -> list[Line]:
    if only not in WHAT:
        return []
    for arm in ARMS:
        if missing := arm.missing(tools):
            return [Line(WHAT, BAR, AIM, "", None, f"no {missing}")]
    raise_limit(MANY + 1000)
    rounds = []
    for number in range(pace.fault_rounds):
        say(f"round {number + 1} of {pace.fault_rounds}: {WHAT}")
        with upstream() as upstream_port:
            rounds.append({arm.name: _bytes_per_connection(arm, upstream_port, tools, raw) for arm in ARMS})
    note = ", ".join(f"{name} {figure([cost[name] for cost in rounds]).value:.0f} B" for name in rounds[0])
    return [Line(WHAT, BAR, AIM, "", figure(against_the_better(rounds, "gateway", ("nginx", "haproxy"))), note)]


def _bytes_per_connection(arm: Arm, upstream_port: int, tools: Tools, raw: Raw) -> float:
    with started(arm, upstream_port, tools) as (child, site):
        with idle(site.port, FEW) as few:
            before = settled(child)
            with idle(site.port, MANY - FEW) as more:
                after = settled(child)
                still_there(few + more)
    cost = (after - before) / (MANY - FEW)
    raw.write(kind="idle", arm=arm.name, before=before, after=after, bytes_per_connection=cost)
    if cost <= 0:
        raise Failed(f"{arm.name} shrinks with its connections: {before} bytes, then {after}")
    return cost


def settled(child) -> int:
    """Resident memory once it has not shrunk for a while: a proxy may let go of what it held for the last request."""
    least, until = child.family_memory_bytes(), time.monotonic() + CALM_SECONDS
    while time.monotonic() < until:
        time.sleep(0.2)
        now = child.family_memory_bytes()
        if now < least:
            least, until = now, time.monotonic() + CALM_SECONDS
    return least


@contextmanager
def idle(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that have carried a request each."""
    connections = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connections.append(connection)
            exchange(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def exchange(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
    answer = b""
    while not is_whole(answer):
        read = connection.recv(65536)
        if not read:
            raise Failed(f"a connection ended after {answer[:100]!r}")
        answer += read


def is_whole(answer: bytes) -> bool:
    """Whether a response with a length is all there."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0])


def still_there(connections: list[socket.socket]) -> None:
    """A proxy that closes its idle connections has saved nothing."""
    for connection in connections[:: max(1, len(connections) // 100)]:
        exchange(connection)


def raise_limit(files: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise Failed(f"{files} open files are needed, and {hard} allowed (ulimit -Hn)")
    # A peer that may have more than it needs asks for it when it starts.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, hard), hard))
