"""The service of the tests in Python, for componentize-py. `service.js` does the same in JavaScript."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import outgoing_handler
from wit_world.imports.streams import InputStream, StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = request.path_with_query() or "/"
        if path == "/hello":
            respond(response_out, 200, b"hello from Python")
        elif path == "/echo":
            respond(response_out, 200, read(request.consume()))
        elif path.startswith("/call/"):
            try:
                respond(response_out, 200, call(path.removeprefix("/call/")))
            except Err as error:
                print(error.value)
                respond(response_out, 502, b"refused")
        elif path == "/loop":
            while True:
                pass
        elif path == "/memory":
            held = []
            while True:
                held.append(bytes(1 << 20))
        elif path == "/raise":
            raise ValueError("raised")
        else:
            respond(response_out, 404, b"")


def respond(response_out: ResponseOutparam, status: int, text: bytes) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        for start in range(0, len(text), 4096):
            stream.blocking_write_and_flush(text[start : start + 4096])
    OutgoingBody.finish(body, None)


def call(whom: str) -> bytes:
    """`UPSTREAM/PATH`: what it answers."""
    authority, _, path = whom.partition("/")
    request = OutgoingRequest(Fields())
    request.set_scheme(Scheme_Http())
    request.set_authority(authority)
    request.set_path_with_query(f"/{path}")
    answer = outgoing_handler.handle(request, None)
    with answer.subscribe() as pollable:
        pollable.block()
    # Whether it is there, whether this is the first look, and what came of it.
    looked = answer.get().value
    if isinstance(looked, Err):
        raise looked
    return read(looked.value.consume())


def read(body: IncomingBody) -> bytes:
    with body.stream() as stream:
        text = b"".join(pieces(stream))
    IncomingBody.finish(body)
    return text


def pieces(stream: InputStream):
    while True:
        try:
            yield stream.blocking_read(1 << 16)
        except Err as error:
            if isinstance(error.value, StreamError_Closed):
                return
            raise
