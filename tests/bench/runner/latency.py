"""How long requests take where there is room: p99 at half and at four fifths of what the slowest proxy can do.

Every proxy gets the same paced load, so that a slow one is not flattered by a small one.
"""

import gateway
import haproxy
import nginx
from arms import Arm, Tools, needs
from figures import against_the_better, figure
from load import PacedLoad, saturate
from measure import Pace, Raw, started, upstream
from processes import Failed
from report import Line

ARMS = [
    Arm("gateway", gateway.plain, gateway.needs_gateway()),
    Arm("nginx", nginx.nginx, needs("nginx")),
    Arm("haproxy", haproxy.haproxy, needs("haproxy")),
]
SHARES = (0.5, 0.8)
BAR, AIM = 1.2, 0.95
SECONDS = 3


def what(share: float) -> str:
    return f"p99 at {share:.0%} of the slowest's most, vs the better of nginx and haproxy"


def lines(only: str, pace: Pace, tools: Tools, raw: Raw, say) -> list[Line]:
    wanted = [share for share in SHARES if only in what(share)]
    if not wanted:
        return []
    for arm in ARMS:
        if missing := arm.missing(tools):
            return [Line(what(share), BAR, AIM, "", None, f"no {missing}") for share in wanted]
    rounds = []
    for number in range(pace.rounds):
        say(f"round {number + 1} of {pace.rounds}: latency")
        with upstream() as upstream_port:
            rounds.append(_round(wanted, pace, upstream_port, tools, raw))
    return [_line(share, [found[share] for found in rounds]) for share in wanted]


def _line(share: float, rounds: list[dict[str, int]]) -> Line:
    note = ", ".join(f"{name} {figure([p99[name] for p99 in rounds]).value:.0f} µs" for name in rounds[0])
    return Line(what(share), BAR, AIM, "", figure(against_the_better(rounds, "gateway", ("nginx", "haproxy"))), note)


def _round(shares: list[float], pace: Pace, upstream_port: int, tools: Tools, raw: Raw) -> dict[float, dict[str, int]]:
    """By share and proxy: p99 in microseconds."""
    most = {}
    for arm in ARMS:
        with started(arm, upstream_port, tools) as (_, site):
            saturate(site.port, arm.path, arm.headers, pace.warm_seconds)
            load = saturate(site.port, arm.path, arm.headers, pace.seconds)
            most[arm.name] = load.requests / load.seconds
    slowest = min(most.values())
    found: dict[float, dict[str, int]] = {share: {} for share in shares}
    for arm in ARMS:
        with started(arm, upstream_port, tools) as (child, site):
            saturate(site.port, arm.path, arm.headers, pace.warm_seconds)
            for share in shares:
                load = PacedLoad(site.folder, site.port, arm.path, arm.headers, SECONDS, per_second=int(slowest * share))
                with load.child:
                    seen = load.result()
                raw.write(kind="latency", arm=arm.name, share=share, most=most, **seen.summary())
                if seen.failed:
                    raise Failed(f"{arm.name}: {seen.failed} of {seen.requests} requests failed: {child.last_words()}")
                found[share][arm.name] = seen.p99_us
    return found
