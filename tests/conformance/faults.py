"""Has a server behind the gateway answer with broken, odd and overlong responses, and judges by what clients get.

usage: faults.py GATEWRIGHT SUITES

Each case is played twice where its framing lets it: the server keeps the connection open after its bytes, or closes it.
After each, another client sends a request of its own: it must get its own answer, and over another connection wherever
bytes were left over. A truncated or altered body must never look complete.

Exits with 1 where one case is not as it should be.
"""

import base64
import json
import pathlib
import re
import socket
import sys
import threading

from gateway import free_port, running

# A read that takes longer is a hang.
PATIENCE = 10.0
NEXT = b"the next answer"


def main() -> int:
    binary, suites = sys.argv[1], pathlib.Path(sys.argv[2])
    cases = json.loads((suites / "upstream-faults" / "cases.json").read_text())["cases"]
    server = Server()
    front = free_port()
    config = {
        "workers": 1,
        "listeners": [f"127.0.0.1:{front}"],
        "access_log": "off",
        "upstreams": {"faulty": [f"127.0.0.1:{server.port}"]},
        "routes": [{"match": {}, "to": "faulty"}],
    }
    played, failed = 0, []
    with running(binary, config):
        for case in cases:
            raw = base64.b64decode(case["raw_b64"])
            truth = read_response(raw)
            for closes in (False, True):
                # Where only the end of the connection ends the body, a server that keeps it open has not answered yet.
                if not closes and (truth.until_close or truth.truncated):
                    continue
                played += 1
                server.play(raw, closes)
                wrong = judge(case, truth, ask(front, "/case"))
                if not wrong:
                    wrong = judge_next(server, truth, ask(front, "/next"))
                if wrong:
                    failed.append(f"{case['id']} ({'closed' if closes else 'kept open'}): {wrong}\n    {case['raw']}")
    verdict = "FAIL" if failed else "ok  "
    print(f"{verdict} upstream-faults: {played - len(failed)} of {played} plays of {len(cases)} cases")
    print("".join(f"  {line}\n" for line in failed), end="")
    return 1 if failed else 0


class Server:
    """Answers `/case` with the bytes to play, and anything else like a server should."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.bytes, self.closes = b"", False
        # Of the connection that played last: whether it got another request.
        self.reused = False
        threading.Thread(target=self.accept, daemon=True).start()

    def play(self, raw: bytes, closes: bool):
        self.bytes, self.closes, self.reused = raw, closes, False

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket):
        played = False
        with connection:
            while head := read_head(connection):
                self.reused |= played
                if not head.startswith(b"GET /case "):
                    length = str(len(NEXT)).encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: " + length + b"\r\n\r\n" + NEXT)
                    continue
                played = True
                try:
                    connection.sendall(self.bytes)
                except OSError:
                    return
                if self.closes:
                    return


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        try:
            byte = connection.recv(1)
        except OSError:
            return b""
        if not byte:
            return b""
        head += byte
    return head


class Response:
    """What the first final response in some bytes says, read strictly."""

    def __init__(self):
        self.status, self.body = None, b""
        # Nothing that can be read; ended too early; its end is the end of the connection; bytes came after it.
        self.broken, self.truncated, self.until_close, self.surplus = False, False, False, False


def read_response(raw: bytes) -> Response:
    response = Response()
    while True:
        head, mark, rest = raw.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.[01] +(\d{3})", head.lstrip(b"\r\n"))
        if not mark or not status:
            response.broken = True
            return response
        response.status = int(status[1])
        if response.status >= 200 or response.status == 101:
            break
        raw = rest
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    named = lambda wanted: [value.strip() for name, _, value in fields if name.lower() == wanted]
    if response.status in (204, 304):
        response.surplus = bool(rest)
    elif named(b"transfer-encoding"):
        read_chunks(response, rest)
    elif lengths := named(b"content-length"):
        length = int(lengths[0])
        response.body, response.surplus = rest[:length], len(rest) > length
        response.truncated = len(rest) < length
    else:
        response.body, response.until_close = rest, True
    return response


def read_chunks(response: Response, rest: bytes):
    while True:
        line, mark, rest = rest.partition(b"\r\n")
        if not mark:
            response.truncated = True
            return
        if not re.fullmatch(rb"[0-9a-fA-F]+(;.*)?", line):
            response.broken = True
            return
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            while line := rest.partition(b"\r\n"):
                if not line[1]:
                    response.truncated = True
                    return
                rest = line[2]
                if not line[0]:
                    response.surplus = bool(rest)
                    return
        response.body += rest[:size]
        if len(rest) < size + 2:
            response.truncated = True
            return
        rest = rest[size + 2 :]


def ask(port: int, path: str) -> "Response | str":
    """What a client gets, or "aborted", or "hang"."""
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        try:
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            return "hang"
        except OSError:
            return "aborted"
    response = read_response(received)
    return "aborted" if response.broken or response.truncated or not received else response


def judge(case: dict, truth: Response, answer: "Response | str") -> str | None:
    """What is wrong with a client's answer, if anything."""
    if answer == "hang":
        return "the client waits forever"
    refused = answer == "aborted" or answer.status == 502
    expect = case["expect"]
    if expect == "relay" and not truth.truncated:
        if refused:
            return f"not relayed: {answer if answer == 'aborted' else 502}"
        if (answer.status, answer.body) != (truth.status, truth.body):
            return f"altered: {answer.status} {answer.body!r}"
    elif expect == "relay_or_502" and not truth.truncated:
        if not refused and answer.status != truth.status:
            return f"altered: {answer.status}"
        if not refused and answer.body.decode("latin-1") != case.get("body", answer.body.decode("latin-1")):
            return f"altered: {answer.body!r}"
    elif not refused:
        return f"looks complete: {answer.status} {answer.body!r}"
    return None


def judge_next(server: Server, truth: Response, answer: "Response | str") -> str | None:
    """What is wrong with the answer that another client got after the case, if anything."""
    if isinstance(answer, str) or (answer.status, answer.body) != (200, NEXT):
        shown = answer if isinstance(answer, str) else f"{answer.status} {answer.body!r}"
        return f"the next client got {shown}"
    if server.reused and (truth.surplus or truth.broken or truth.truncated):
        return "the connection was used again"
    return None


if __name__ == "__main__":
    sys.exit(main())
