"""The table that `make bench` prints, as data: what is compared, how it follows from one round's figures, and the bar.

There is a value for each round, from the arms of that round, which ran within minutes of each other, so what the machine did
meanwhile falls out of it. Bars in microseconds were set on a machine where F2 took 16.5 µs a request; they are held against the
value scaled to that, so that every verdict is a ratio. The note beside it has the value as this machine showed it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from figures import against_the_better

# By arm: CPU microseconds per request in one round.
Round = dict[str, float]


@dataclass(frozen=True)
class Row:
    what: str
    bar: float | None
    aim: float | None
    needs: tuple[str, ...]
    values: Callable[[list[Round]], list[float]]
    unit: str = ""
    note: Callable[[list[Round]], str] = lambda rounds: ""


def ratio(what: str, arm: str, peers: tuple[str, ...], bar: float | None, aim: float | None) -> Row:
    """`arm` against the cheaper of the peers."""
    return Row(what, bar, aim, (arm, *peers), lambda rounds: against_the_better(rounds, arm, peers))


def added(what: str, arm: str, base: str, count: int, bar: float, aim: float) -> Row:
    """What each of `count` plugins adds to `base`."""
    here = lambda cpu: (cpu[arm] - cpu[base]) / count
    scaled = lambda cpu: here(cpu) * F2_WHERE_THE_BARS_WERE_SET / cpu["f2"]
    note = lambda rounds: f"{median(map(here, rounds)):.2f} µs here"
    return Row(what, bar, aim, (arm, base, "f2"), lambda rounds: list(map(scaled, rounds)), "µs", note)


def tcp(load: str) -> tuple[str, ...]:
    """The peers at layer 4, under this load."""
    return (f"nginx tcp{load}", f"haproxy tcp{load}")


def peers(load: str) -> tuple[str, ...]:
    """nginx and haproxy, under this load."""
    return (f"nginx{load}", f"haproxy{load}")


F2_WHERE_THE_BARS_WERE_SET = 16.5

ROWS = [
    ratio("A/A: nginx vs nginx", "nginx again", ("nginx",), None, None),
    ratio("plain HTTP/1.1 vs the better of nginx and haproxy", "gateway", ("nginx", "haproxy"), 1.15, 0.95),
    ratio("plain HTTP/1.1 vs Envoy", "gateway", ("envoy",), 0.5, 0.35),
    ratio("plain HTTP/1.1 vs floor F2 (hyper to hyper)", "gateway", ("f2",), 1.20, 1.05),
    added("one more no-op plugin, shared (slope of 0 to 16)", "gateway + 16 no-op", "gateway", 16, 0.5, 0.25),
    added("one more no-op plugin, isolation: request (slope of 0 to 4)", "gateway + 4 fresh", "gateway", 4, 12, 6),
    ratio("chain of 16 no-op plugins vs none", "gateway + 16 no-op", ("gateway",), 1.5, 1.2),
    ratio("three policies vs nginx with Lua", "gateway policies", ("nginx + Lua policies",), 0.95, 0.8),
    ratio("three policies vs haproxy native", "gateway policies", ("haproxy policies",), 1.2, 1.0),
    ratio("three policies vs Envoy native", "gateway policies", ("envoy policies",), 0.5, 0.38),
    ratio("jwt (ES256, warm), rate-limit and headers vs Envoy native", "gateway tokens", ("envoy tokens",), 0.6, 0.4),
    ratio("jwt (ES256, warm), rate-limit and headers vs haproxy native", "gateway tokens", ("haproxy tokens",), 1.0, 0.7),
    added("the three policies together", "gateway policies", "gateway", 1, 4, 2),
    Row(
        "added by a no-op plugin vs by a no-op Proxy-Wasm filter in Envoy (V8)",
        0.3,
        0.15,
        ("gateway + 16 no-op", "gateway", "envoy + 16 wasm", "envoy + 1 wasm"),
        lambda rounds: [
            ((cpu["gateway + 16 no-op"] - cpu["gateway"]) / 16)
            / ((cpu["envoy + 16 wasm"] - cpu["envoy + 1 wasm"]) / 15)
            for cpu in rounds
        ],
    ),
    ratio("cache hit vs nginx proxy_cache", "gateway cache", ("nginx cache",), 1.2, 0.9),
    ratio("TCP forwarding, small exchanges, vs the better of nginx and haproxy", "gateway tcp", tcp(""), 1.2, 0.95),
    ratio(
        "TCP forwarding, a connection for each exchange, vs the better of nginx and haproxy",
        "gateway tcp, connections",
        tcp(", connections"),
        1.2,
        0.95,
    ),
    ratio(
        "TCP forwarding, a mebibyte for each exchange, vs the better of nginx and haproxy",
        "gateway tcp, mebibytes",
        tcp(", mebibytes"),
        1.2,
        0.95,
    ),
    ratio(
        "TLS, a full handshake for each request, vs the better of nginx and haproxy",
        "gateway tls, full handshakes",
        peers(" tls, full handshakes"),
        1.2,
        0.95,
    ),
    ratio(
        "TLS, a resumed handshake for each request, vs the better of nginx and haproxy",
        "gateway tls, resumed",
        peers(" tls, resumed"),
        1.2,
        0.95,
    ),
    ratio("HTTP/2 over TLS vs the better of nginx and haproxy", "gateway http/2", peers(" http/2"), 1.2, 0.95),
    ratio("bodies of a mebibyte vs the better of nginx and haproxy", "gateway, mebibytes", peers(", mebibytes"), 1.2, 0.95),
    ratio(
        "REST to gRPC, a KiB each way, vs Envoy's grpc_json_transcoder",
        "gateway rest to grpc",
        ("envoy rest to grpc",),
        1.5,
        1.0,
    ),
    ratio("gRPC-Web, a KiB each way, vs Envoy's grpc_web", "gateway grpc-web", ("envoy grpc-web",), 1.5, 1.0),
    ratio("a hello by a component of wasi:http 0.2 vs wasmtime serve", "gateway wasi:http", ("wasmtime serve",), 1.0, None),
    ratio("the seven header fields that tell upstreams of the client, vs none", "gateway, telling", ("gateway",), None, None),
    ratio(
        "the two header fields that tell clients of a limit, vs none",
        "gateway policies, telling",
        ("gateway policies",),
        None,
        None,
    ),
    ratio("10,000 routes vs one", "gateway, 10,000 routes", ("gateway",), 1.1, 1.02),
]
