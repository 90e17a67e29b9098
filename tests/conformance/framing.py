"""Sends the framing suites through a gateway and judges by what the server behind it received.

usage: framing.py GATEWRIGHT SUITES

Exits with 1 where a figure that the project promises is not reached.
"""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile

# What a result may be at most (or, for PASS, at least, as a share of all).
LEAST_PASS = 0.98
NEVER = ("DESYNC", "FORWARDED_BAD", "HANG")


def main() -> int:
    binary, suites = sys.argv[1], pathlib.Path(sys.argv[2])
    failed = False
    for name, script, arguments, least in [
        ("http1-smuggling, whole", "run_h1.py", [], LEAST_PASS),
        ("http1-smuggling, in single bytes", "run_h1.py", ["--split", "1"], LEAST_PASS),
        ("http1-smuggling, 7 bytes at a time", "run_h1.py", ["--split", "7"], LEAST_PASS),
        ("http2 desync over h2c", "run_h2.py", [], 1.0),
    ]:
        total, classes, output = run(binary, suites / "tools" / script, arguments)
        passed = classes.get("PASS", 0)
        good = passed >= least * total and not any(classes.get(name) for name in NEVER)
        failed |= not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {passed} of {total} ({100 * passed / total:.1f} %) {classes}")
        if not good:
            print(output)
    return 1 if failed else 0


def run(binary: str, script: pathlib.Path, arguments: list[str]) -> tuple[int, dict, str]:
    """Starts a gateway with a catch-all route to the suite's own server, and the suite against it."""
    front, back = free_port(), free_port()
    config = {
        "workers": 1,
        "listeners": [f"127.0.0.1:{front}"],
        "access_log": "off",
        "upstreams": {"backend": [f"127.0.0.1:{back}"]},
        "routes": [{"match": {}, "to": "backend"}],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "gateway.json"
        path.write_text(json.dumps(config))
        gateway = subprocess.Popen([binary, "run", str(path)], stderr=subprocess.PIPE)
        try:
            # The first line of its log says that it listens.
            gateway.stderr.readline()
            command = [sys.executable, str(script), "--gateway", f"127.0.0.1:{front}", "--backend-port", str(back)]
            output = subprocess.run(command + arguments, capture_output=True, text=True, timeout=500).stdout
        finally:
            gateway.terminate()
            gateway.communicate(timeout=60)
    result = json.loads(output.strip().splitlines()[-1])
    return result["total"], result["by_class"], output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
