"""Arms: every proxy that is measured, as data. An arm says how to start a proxy in front of the upstream and what it
must be seen to do before its figures count.

All arms run on one core, keep connections alive on both sides and write no access log. What they are asked to do in
their policies is the same: look a key up (401 without one), count it against a limit that is never reached, set one
request header and two response headers.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from bearer import TOKEN
from load import Load, answers, ask, handshakes, saturate, saturate_http2, saturate_posts
from processes import PROXY_CORE, Child, Failed, run


@dataclass(frozen=True)
class Tools:
    """Where the programs are; none where one is missing, and the arms that need it are then left out by name."""

    gateway: Path | None
    floor: Path | None
    envoy: Path | None
    no_op_filter: Path | None
    wasmtime: Path | None
    guests: Path | None

    def guest(self, name: str) -> Path | None:
        path = self.guests / f"{name}.wasm" if self.guests else None
        return path if path and path.exists() else None


@dataclass(frozen=True)
class Site:
    """Where one proxy is set up: a folder of its own, its port and the upstream's."""

    folder: Path
    port: int
    upstream: int
    tools: Tools

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text.rstrip() + "\n")
        return path


@dataclass(frozen=True)
class Arm:
    name: str
    # Writes the proxy's configuration and answers its command line.
    prepare: Callable[[Site], list[str]]
    # The name of what it needs and does not find, or none.
    missing: Callable[[Tools], str | None]
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    # Proves, once for each start, that the proxy does what the arm is named for.
    prove: Callable[["Arm", int], None] = lambda arm, port: proxies(arm, port)
    over_tls: bool = False
    # Whether the proxy and the upstream behind it are both there.
    is_up: Callable[["Arm", int], bool] = lambda arm, port: answers(port, arm.path, arm.headers, arm.over_tls)
    # Loads the proxy at a port for so many seconds.
    load: Callable[["Arm", int, float], Load] = lambda arm, port, seconds: saturate(port, arm.path, arm.headers, seconds)

    def ask(self, port: int):
        return ask(port, self.path, self.headers, over_tls=self.over_tls)

    def start(self, site: Site) -> Child:
        child = Child(self.name, self.prepare(site), site.folder, {PROXY_CORE})
        try:
            child.wait_until(lambda: self.is_up(self, site.port), "an answer")
            self.prove(self, site.port)
        except BaseException:
            child.end()
            raise
        return child


def proxies(arm: Arm, port: int) -> None:
    answer = arm.ask(port)
    if (answer.status, len(answer.body)) != (200, 1024):
        raise Failed(f"{arm.name} does not proxy: {answer.status}, {len(answer.body)} bytes")


def remembers(arm: Arm, port: int) -> None:
    """The upstream tells which user a request names: of the second, it is not asked."""
    proxies(arm, port)
    for user in ("first", "second"):
        answer = ask(port, "/remembered", {"x-user": user})
        if answer.headers.get("x-seen-user") != "first":
            raise Failed(f"{arm.name} does not remember: {answer.headers}")


def carries_a_mebibyte(arm: Arm, port: int) -> None:
    answer = arm.ask(port)
    if (answer.status, len(answer.body)) != (200, 1 << 20):
        raise Failed(f"{arm.name} does not carry a mebibyte: {answer.status}, {len(answer.body)} bytes")


def at_layer_4(name: str, prepare: Callable[[Site], list[str]], missing: Callable[[Tools], str | None]) -> list[Arm]:
    """One proxy that forwards connections, under three loads: small exchanges on kept connections, a connection for each
    exchange, and a mebibyte for each."""
    return [
        Arm(f"{name} tcp", prepare, missing),
        Arm(f"{name} tcp, connections", prepare, missing, headers={"connection": "close"}),
        Arm(f"{name} tcp, mebibytes", prepare, missing, path="/mebibyte", prove=carries_a_mebibyte),
    ]


def over_tls(name: str, prepare: Callable[[Site], list[str]], missing: Callable[[Tools], str | None]) -> list[Arm]:
    """One proxy that ends TLS, under three loads: a full handshake for each request, a resumed one, and HTTP/2."""
    full = lambda arm, port, seconds: handshakes(port, seconds, resumed=False)
    resumed = lambda arm, port, seconds: handshakes(port, seconds, resumed=True)
    http2 = lambda arm, port, seconds: saturate_http2(port, arm.path, seconds)
    return [
        Arm(f"{name} tls, full handshakes", prepare, missing, over_tls=True, load=full),
        Arm(f"{name} tls, resumed", prepare, missing, over_tls=True, load=resumed),
        Arm(f"{name} http/2", prepare, missing, over_tls=True, load=http2),
    ]


def mebibytes(name: str, prepare: Callable[[Site], list[str]], missing: Callable[[Tools], str | None]) -> Arm:
    """One proxy that carries a mebibyte for each request."""
    return Arm(f"{name}, mebibytes", prepare, missing, path="/mebibyte", prove=carries_a_mebibyte)


def answers_itself(name: str, prepare: Callable[[Site], list[str]], missing: Callable[[Tools], str | None]) -> Arm:
    """One server whose component of wasi:http answers, with a hello."""
    return Arm(name, prepare, missing, path="/hello", prove=has_answered)


def has_answered(arm: Arm, port: int) -> None:
    answer = arm.ask(port)
    if (answer.status, answer.body, answer.headers.get("x-service")) != (200, b"hello", "guest"):
        raise Failed(f"{arm.name} has no hello: {answer.status}, {answer.headers}, {answer.body[:200]!r}")


def translates(name: str, prepare: Callable[[Site], list[str]], missing: Callable[[Tools], str | None]) -> Arm:
    """One proxy that makes a call of gRPC of each request in JSON, and JSON of its answer."""
    return _posts(f"{name} rest to grpc", prepare, missing, "application/json", grpc.JSON.encode(), has_translated)


def speaks_grpc_web(name: str, prepare: Callable[[Site], list[str]], missing: Callable[[Tools], str | None]) -> Arm:
    """One proxy that makes a call of gRPC of each one of gRPC-Web."""
    kind = "application/grpc-web+proto"
    return _posts(f"{name} grpc-web", prepare, missing, kind, grpc.frame(), has_spoken_grpc_web)


def _posts(
    name: str,
    prepare: Callable[[Site], list[str]],
    missing: Callable[[Tools], str | None],
    kind: str,
    body: bytes,
    prove: Callable[[Arm, int], None],
) -> Arm:
    headers = {"content-type": kind}
    load = lambda arm, port, seconds: saturate_posts(port, grpc.PATH, headers, body, seconds)
    is_up = lambda arm, port: answers(port, grpc.PATH, headers, method="POST", body=body)
    return Arm(name, prepare, missing, headers=headers, prove=prove, is_up=is_up, load=load)


def has_translated(arm: Arm, port: int) -> None:
    answer = ask(port, grpc.PATH, arm.headers, "POST", grpc.JSON.encode())
    if answer.status != 200 or json.loads(answer.body) != grpc.MESSAGE:
        raise Failed(f"{arm.name} does not translate: {answer.status}, {answer.body[:200]!r}")
    if ask(port, grpc.PATH, arm.headers, "POST", b'{"name":1}').status != 400:
        raise Failed(f"{arm.name} takes what is no message")


def has_spoken_grpc_web(arm: Arm, port: int) -> None:
    answer = ask(port, grpc.PATH, arm.headers, "POST", grpc.frame())
    message, trailers = answer.body[: len(grpc.frame())], answer.body[len(grpc.frame()) :]
    if message != grpc.frame() or trailers[:1] != b"\x80" or b"grpc-status:0" not in trailers.replace(b" ", b""):
        raise Failed(f"{arm.name} does not speak gRPC-Web: {answer.status}, {answer.body[-200:]!r}")


def certificate(site: Site) -> tuple[Path, Path]:
    """A certificate of this run's own and its key, on P-256 for every proxy."""
    cert, key = site.folder / "tls.pem", site.folder / "tls.key"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    run([*make, "-subj", "/CN=localhost", "-addext", names, "-keyout", str(key), "-out", str(cert)], 10)
    return cert, key


def holds_policies(arm: Arm, port: int) -> None:
    proxies(arm, port)
    if (status := ask(port, arm.path).status) != 401:
        raise Failed(f"{arm.name} lets a request without a key in: {status}")
    answer = ask(port, arm.path, arm.headers)
    for name, value in RESPONSE_HEADERS.items():
        if answer.headers.get(name) != value:
            raise Failed(f"{arm.name} does not set {name}")
    # The upstream answers with the request header that the policy sets.
    if answer.headers.get("x-seen-user") != "alice":
        raise Failed(f"{arm.name} does not set x-user on the request")


def tells_of_the_limit(arm: Arm, port: int) -> None:
    holds_policies(arm, port)
    if not {"ratelimit", "ratelimit-policy"} <= arm.ask(port).headers.keys():
        raise Failed(f"{arm.name} does not tell of its limit")


def holds_tokens(arm: Arm, port: int) -> None:
    """The same with a signed token in the place of the key. The last character of a signature has bits that say nothing;
    the first has none."""
    holds_policies(arm, port)
    head, _, signature = TOKEN.rpartition(".")
    forged = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    if (status := ask(port, arm.path, {"authorization": f"Bearer {forged}"}).status) != 401:
        raise Failed(f"{arm.name} lets a forged token in: {status}")


# The component of wasi:http that the tests have as well.
SERVICE = "guest_service"
KEY = {"x-api-key": "k1"}
RESPONSE_HEADERS = {"x-policy": "bench", "x-frame-options": "DENY"}
# A limit of a thousand million a minute is kept and never reached.
LIMIT = 1_000_000_000


def needs(*programs: str) -> Callable[[Tools], str | None]:
    return lambda tools: next((name for name in programs if not find_program(name)), None)


def needs_tool(*names: str) -> Callable[[Tools], str | None]:
    return lambda tools: next((name for name in names if getattr(tools, name) is None), None)


def find_program(program: str) -> str | None:
    # Debian keeps servers out of the search path of users other than root.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def program(name: str) -> str:
    found = find_program(name)
    if not found:
        raise Failed(f"{name} is not installed")
    return found
