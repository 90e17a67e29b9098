"""Sends paths in every disguise, and looks at what the server behind gets.

usage: url_paths.py GATEWRIGHT SUITES

1. The rows of the profile that the gateway has (host/src/headers/path.rs): the server gets exactly what they say.
2. With a route that refuses `/admin` and everything below: whatever the disguise (the inputs of every profile, and
   `/admin` in some more), the server gets no path that it could read as one of these, and what it gets is in its one form
   already, so that the path that was matched is the path that is sent.

Exits with 1 where one case is not as it should be.
"""

import contextlib
import json
import pathlib
import posixpath
import socket
import sys
import urllib.parse

from gateway import free_port, running
from gateway_api import Backend

PROFILE = "DECODE_AND_MERGE_SLASHES"
PATIENCE = 10.0
DISGUISES = [
    f"{before}{name}{after}"
    for before in ("/", "//", "/./", "/x/../", "/x/%2e%2e/", "/%2e/", "\\", "/\\", "/%2F", "/%5c", "/x\\..\\", "/x%2f..%2f", "/../", "/.//")
    for name in ("admin", "%61dmin", "a%64min", "%61%64%6d%69%6e")
    for after in ("", "/", "/x", "//", "/.", "/x/..", "\\", "%2f", "%5C", "?a=b", "/%2e", "#x", "/..;/admin")
]


def main() -> int:
    binary, suites = sys.argv[1], pathlib.Path(sys.argv[2])
    cases = json.loads((suites / "url-normalisation" / "cases.json").read_text())["cases"]
    backend = Backend()
    failed, played = [], 0
    with gateway(binary, backend, []) as front:
        for case in (case for case in cases if case["profile"] == PROFILE):
            played += 1
            status, got = ask(front, backend, case["input"])
            if got != case["expected"]:
                failed.append(f"{case['id']} {case['input']!r}: {status}, the server got {got!r}, not {case['expected']!r}")
    verdict = "FAIL" if failed else "ok  "
    print(f"{verdict} url-normalisation: {played - len(failed)} of {played} rows of the profile")
    inputs = sorted({case["input"] for case in cases if case["input"].startswith(("/", "\\"))} | set(DISGUISES))
    passed_by = []
    denied = {"name": "denied", "match": {"path": "/admin/*"}, "plugins": [{"echo": {"respond": {"status": 403}}}]}
    with gateway(binary, backend, [denied]) as front:
        for target in inputs:
            status, got = ask(front, backend, target)
            if got is None:
                if status not in (400, 403):
                    passed_by.append(f"{target!r}: {status}, and the server got nothing")
            elif is_below_admin(got):
                passed_by.append(f"{target!r}: the server got {got!r}")
            elif (again := ask(front, backend, got)[1]) != got:
                passed_by.append(f"{target!r}: the server got {got!r}, which is {again!r} the next time")
    verdict = "FAIL" if passed_by else "ok  "
    print(f"{verdict} deny rules: {len(inputs) - len(passed_by)} of {len(inputs)} disguises")
    print("".join(f"  {line}\n" for line in failed + passed_by), end="")
    return 1 if failed or passed_by else 0


@contextlib.contextmanager
def gateway(binary: str, backend: Backend, routes: list):
    """The port of a gateway with these routes before one for everything else."""
    front = free_port()
    config = {
        "workers": 1,
        "listeners": [f"127.0.0.1:{front}"],
        "access_log": "off",
        "upstreams": {"backend": [f"127.0.0.1:{backend.port}"]},
        "routes": [*routes, {"name": "rest", "match": {}, "to": "backend"}],
    }
    with running(binary, config):
        yield front


def ask(front: int, backend: Backend, target: str) -> tuple[int, str | None]:
    """The status, and the target that the server got, if it got one."""
    backend.forget()
    answer = b""
    with socket.create_connection(("127.0.0.1", front), timeout=PATIENCE) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        while piece := connection.recv(65536):
            answer += piece
    got = backend.got()
    return int(answer.split()[1]), got[0][1] if got else None


def is_below_admin(target: str) -> bool:
    """Whether a server that decodes once, takes `\\` for `/` and resolves dots is asked for what is refused."""
    path = target.partition("?")[0].partition("#")[0]
    plain = urllib.parse.unquote(path, encoding="latin-1").replace("\\", "/")
    plain = posixpath.normpath("/" + plain.lstrip("/"))
    return plain == "/admin" or plain.startswith("/admin/")


if __name__ == "__main__":
    sys.exit(main())
