"""A gateway of its own for a conformance run."""

import contextlib
import json
import pathlib
import socket
import subprocess
import tempfile


@contextlib.contextmanager
def running(binary: str, config: dict):
    """Runs the gateway on this configuration until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "gateway.json"
        path.write_text(json.dumps(config))
        gateway = subprocess.Popen([binary, "run", str(path)], stderr=subprocess.PIPE, text=True)
        try:
            # The first line of its log says that it listens.
            first = gateway.stderr.readline()
            if gateway.poll() is not None:
                raise RuntimeError(first + gateway.stderr.read())
            yield gateway
        finally:
            gateway.terminate()
            gateway.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
