"""Calls to upstreams that the operator granted. They look blocking; the gateway runs other work meanwhile."""

import json as _json
from collections.abc import Mapping
from typing import Any, NamedTuple

from componentize_py_types import Err
from wit_world.imports import http_client as _host

from . import well_formed

__all__ = ["Answer", "CallFailed", "call"]


class CallFailed(Exception):
    """A call that got no response."""


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, bytes]]
    body: bytes

    def json(self) -> Any:
        return _json.loads(self.body)


def call(
    upstream: str,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_ms: int = 0,
) -> Answer:
    """Calls an upstream and waits for the response. A `timeout_ms` of 0 means the operator's limit."""
    fields = [(name, well_formed(value)) for name, value in (headers or {}).items()]
    request = _host.Request(upstream, method, well_formed(path), fields, body, timeout_ms)
    try:
        response = _host.send(request)
    except Err as error:
        raise CallFailed(f"{upstream}: {error.value}") from error
    return Answer(response.status, response.headers, response.body)
