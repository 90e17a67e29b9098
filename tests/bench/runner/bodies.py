"""Both ends of a very long body: an upstream that swallows or makes one, and a client that sends or reads one.

Neither keeps the body, and each knows how long it has to be, so a byte that is lost on the way fails the run.
"""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import Failed

PIECE = bytes(256 * 1024)


class BodyServer:
    """An upstream in a thread of the runner. It answers a POST with the length it read, and `GET /N` with N bytes."""

    def __enter__(self) -> "BodyServer":
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


def upload(port: int, length: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", "/", body=_pieces(length), headers={"content-length": str(length)})
        response = connection.getresponse()
        answer = response.read()
        if (response.status, answer) != (200, str(length).encode()):
            raise Failed(f"an upload of {length} bytes: {response.status} {answer[:200]!r}")
    finally:
        connection.close()


def download(port: int, length: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET", f"/{length}")
        response = connection.getresponse()
        buffer, read = bytearray(len(PIECE)), 0
        while count := response.readinto(buffer):
            read += count
        if (response.status, read) != (200, length):
            raise Failed(f"a download of {length} bytes: {response.status}, {read} bytes")
    finally:
        connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def do_GET(self) -> None:
        length = int(self.path[1:] or "0")
        self._head(length)
        for piece in _pieces(length):
            self.wfile.write(piece)

    def do_POST(self) -> None:
        read = self._chunked() if "chunked" in self.headers.get("transfer-encoding", "") else self._counted()
        answer = str(read).encode()
        self._head(len(answer))
        self.wfile.write(answer)

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("content-length", str(length))
        self.end_headers()

    def _counted(self) -> int:
        return self._swallow(int(self.headers.get("content-length", "0")))

    def _chunked(self) -> int:
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += self._swallow(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return total

    def _swallow(self, length: int) -> int:
        buffer, read = memoryview(bytearray(len(PIECE))), 0
        while read < length and (count := self.rfile.readinto(buffer[: min(len(buffer), length - read)])):
            read += count
        return read

    def log_message(self, *_) -> None:
        pass


def _pieces(length: int) -> Iterator[bytes]:
    for _ in range(length // len(PIECE)):
        yield PIECE
    if rest := length % len(PIECE):
        yield PIECE[:rest]
