"""The exchange that the running hook is about. Every property and method is one call to the gateway, and nothing is
cached; outside of a hook a call fails. A change that the gateway refuses raises Refused."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from componentize_py_types import Err
from wit_world.imports import exchange as _host
from wit_world.imports.types import BodyMode, Caller, Direction, Section

from . import well_formed

__all__ = [
    "BodyMode", "Identity", "Refused", "attribute", "identity", "request", "response", "set_attribute", "set_identity",
    "set_state", "set_upstream", "state",
]


class Refused(Exception):
    """A change that the gateway refused."""


class Identity(NamedTuple):
    """An authenticated caller."""

    subject: str
    claims: dict[str, Any]


class Headers:
    """One header block."""

    def __init__(self, section: Section) -> None:
        self._section = section

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return _host.header(self._section, name)

    def select(self, *names: str) -> list[str | None]:
        """The first values of several fields, in one call."""
        return _host.select_headers(self._section, list(names))

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __setitem__(self, name: str, value: str) -> None:
        _change(name, _host.set_header, self._section, name, well_formed(value))

    def __delitem__(self, name: str) -> None:
        _change(name, _host.remove_header, self._section, name)

    def append(self, name: str, value: str) -> None:
        _change(name, _host.append_header, self._section, name, well_formed(value))

    def all(self) -> list[tuple[str, bytes]]:
        """Every field in order, with names in lower case."""
        return _host.headers(self._section)


class _Request:
    headers = Headers(Section.REQUEST_HEADERS)

    @property
    def method(self) -> str:
        return _host.method()

    @method.setter
    def method(self, method: str) -> None:
        _change("method", _host.set_method, method)

    @property
    def scheme(self) -> str:
        return _host.scheme()

    @property
    def authority(self) -> str:
        return _host.authority()

    @authority.setter
    def authority(self, authority: str) -> None:
        _change("authority", _host.set_authority, authority)

    @property
    def path(self) -> str:
        """The path with the query."""
        return _host.path()

    @path.setter
    def path(self, path: str) -> None:
        _change("path", _host.set_path, well_formed(path))

    def read_body(self, mode: BodyMode) -> None:
        """Asks for the body."""
        _change("body", _host.set_body_mode, Direction.REQUEST, mode)


class _Response:
    headers = Headers(Section.RESPONSE_HEADERS)

    @property
    def status(self) -> int:
        """0 before there is a response."""
        return _host.status()

    @status.setter
    def status(self, status: int) -> None:
        _change("status", _host.set_status, status)

    def read_body(self, mode: BodyMode) -> None:
        """Asks for the body."""
        _change("body", _host.set_body_mode, Direction.RESPONSE, mode)


request = _Request()
response = _Response()


def identity() -> Identity | None:
    """Who is calling, once a plugin has authenticated the caller."""
    caller = _host.identity()
    return Identity(caller.subject, json.loads(caller.claims or "{}")) if caller else None


def set_identity(subject: str, claims: Mapping[str, Any] | None = None) -> None:
    _change("identity", _host.set_identity, Caller(well_formed(subject), json.dumps(claims or {})))


def attribute(name: str) -> str | None:
    """An attribute of the exchange, such as "source.address" or "route.name"."""
    return _host.attribute(name)


def set_attribute(name: str, value: str) -> None:
    """Sets `plugin.<this plugin>.<name>` for later plugins and the access log."""
    _change(name, _host.set_attribute, name, well_formed(value))


def set_upstream(name: str) -> None:
    """Sends the request to another upstream of the route."""
    _change("upstream", _host.set_upstream, name)


def state() -> bytes:
    """The bytes that this plugin keeps for this exchange."""
    return _host.state()


def set_state(state: bytes) -> None:
    _change("state", _host.set_state, state)


def _change(what: str, make: Any, *arguments: Any) -> None:
    try:
        make(*arguments)
    except Err as error:
        raise Refused(f"{what}: {error.value}") from error
