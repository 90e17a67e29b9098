"""The service of the tests in Python for WASI 0.3, for componentize-py. `service.py` does the same for 0.2."""

import wit_world
from componentize_py_async_support import spawn
from componentize_py_async_support.streams import ByteStreamReader
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import client
from wit_world.imports.wasi_http_types import Fields, Request, Response, Scheme_Http


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        path = request.get_path_with_query() or "/"
        if path == "/hello":
            return respond(200, b"hello from Python")
        if path == "/echo":
            return echo(request)
        if path.startswith("/call/"):
            try:
                return respond(200, await call(path.removeprefix("/call/")))
            except Err as error:
                print(error.value)
                return respond(502, b"refused")
        if path == "/loop":
            while True:
                pass
        if path == "/memory":
            held = []
            while True:
                held.append(bytes(1 << 20))
        if path == "/raise":
            raise ValueError("raised")
        return respond(404, b"")


def respond(status: int, text: bytes) -> Response:
    writer, contents = wit_world.byte_stream()

    async def write() -> None:
        with writer:
            await writer.write_all(text)

    spawn(write())
    return beginning(status, contents)


def echo(request: Request) -> Response:
    """Each piece goes back as it comes."""
    incoming, _ = Request.consume_body(request, fine())
    writer, contents = wit_world.byte_stream()

    async def write() -> None:
        with incoming, writer:
            while piece := await incoming.read(1 << 16):
                await writer.write_all(piece)

    spawn(write())
    return beginning(200, contents)


def beginning(status: int, contents: ByteStreamReader) -> Response:
    fields = Fields.from_list([("content-type", b"text/plain")])
    response, _ = Response.new(fields, contents, no_trailers())
    response.set_status_code(status)
    return response


async def call(whom: str) -> bytes:
    """`UPSTREAM/PATH`: what it answers."""
    authority, _, path = whom.partition("/")
    request, _ = Request.new(Fields(), None, no_trailers(), None)
    request.set_scheme(Scheme_Http())
    request.set_authority(authority)
    request.set_path_with_query(f"/{path}")
    contents, _ = Response.consume_body(await client.send(request), fine())
    text = b""
    with contents:
        while piece := await contents.read(1 << 16):
            text += piece
    return text


def no_trailers():
    return wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))[1]


def fine():
    """What its sender is told of a body: nothing went wrong."""
    return wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))[1]
