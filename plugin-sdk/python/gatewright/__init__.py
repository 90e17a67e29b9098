"""Gatewright plugins in Python: a class, one method for each hook, and the decorator `plugin` on it.

    from gatewright import Plugin, plugin, problem
    from gatewright.exchange import request

    @plugin
    class Door(Plugin):
        name = "door"
        version = "1.0.0"

        def on_request(self, end_of_stream):
            if request.headers.get("x-word") != "sesame":
                return problem(403, "Forbidden", "the door stays shut")

The modules `exchange`, `log`, `http` and `store` each wrap an interface that a world (wit/world.wit) may import; the
rest of the contract is in `wit_world.imports`, as in the bindings.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from componentize_py_types import Err
from wit_world.imports import log as _log
from wit_world.imports.types import (
    BodyDecision_Abort,
    BodyDecision_Hold,
    BodyDecision_Pass,
    BodyDecision_Replace,
    BodyDecision_Respond,
    Decision_Abort,
    Decision_Proceed,
    Decision_Respond,
    LocalResponse,
)

__all__ = ["Abort", "Hold", "Plugin", "Replace", "Response", "plugin", "problem", "respond", "respond_json", "well_formed"]

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


class Plugin:
    """A plugin. Write the hooks that its world exports; others are never called."""

    #: The plugin's name and version, for people.
    name = "plugin"
    version = "0.0.0"
    #: JSON Schema of the configuration: the gateway checks against it, and points at the mistake.
    config_schema: Mapping[str, Any] | None = None
    #: The metrics that the plugin writes: mappings with `name`, `kind`, `help`, `labels`.
    metrics: list[Mapping[str, Any]] = []

    def configure(self, config: Any) -> None:
        """Called once for each instance, before any hook. A ValueError refuses the configuration with its text."""


class Response:
    """A decision: stop here and answer the client."""

    def __init__(self, status: int, headers: Fields = (), body: str | bytes = b"") -> None:
        fields = headers.items() if isinstance(headers, Mapping) else headers
        self.local = LocalResponse(status, [(name, well_formed(value)) for name, value in fields], _bytes(body))


class Abort:
    """A decision: stop here and reset the client's stream."""


class Hold:
    """A decision of a body hook: keep the chunk back; it is shown again, joined with the next chunk or with several."""


class Replace:
    """A decision of a body hook: send these bytes instead of the chunk and everything held so far."""

    def __init__(self, body: str | bytes) -> None:
        self.body = _bytes(body)


def respond(status: int, headers: Fields = (), body: str | bytes = b"") -> Response:
    """Answers the client."""
    return Response(status, headers, body)


def respond_json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Answers with JSON."""
    return Response(status, {"content-type": "application/json", **(headers or {})}, json.dumps(value))


def problem(status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Answers with a problem (RFC 9457), as the gateway itself does."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return respond_json(status, body, {"content-type": "application/problem+json", **(headers or {})})


def well_formed(text: str) -> str:
    """Makes a text valid UTF-8: a lone surrogate, which JSON may contain, becomes U+FFFD. This package does so with
    everything it passes to the gateway."""
    return _HALVES.sub("\ufffd", text) if isinstance(text, str) else text


def _bytes(body: str | bytes) -> bytes:
    return well_formed(body).encode() if isinstance(body, str) else body


_HALVES = re.compile("[\ud800-\udfff]")


def plugin(cls: type[Plugin]) -> type[Plugin]:
    """Makes a class a component: adds the exports that the bindings look for to its module."""
    instance = cls()

    class Lifecycle:
        def describe(self) -> str:
            return json.dumps(
                {
                    "name": cls.name,
                    "version": cls.version,
                    "config-schema": cls.config_schema,
                    "metrics": list(cls.metrics),
                }
            )

        def configure(self, config: str) -> None:
            # Not earlier, since there is no log while the component is built.
            sys.stdout = _Lines()
            try:
                instance.configure(json.loads(config or "{}"))
            except ValueError as error:
                raise Err(well_formed(str(error))) from error
            except Exception as error:
                # A mistake in the plugin, which the trap would not describe.
                _log.write(_log.Level.ERROR, _told(error), [])
                raise Err(well_formed(f"{type(error).__name__}: {error}")) from error

    class RequestHook:
        def on_request(self, end_of_stream: bool) -> Any:
            return _decision(_guarded(instance.on_request, end_of_stream))

    class ResponseHook:
        def on_response(self, end_of_stream: bool) -> Any:
            return _decision(_guarded(instance.on_response, end_of_stream))

    class RequestBodyHook:
        def on_request_body(self, chunk: bytes, end_of_stream: bool) -> Any:
            return _body_decision(_guarded(instance.on_request_body, chunk, end_of_stream))

    class ResponseBodyHook:
        def on_response_body(self, chunk: bytes, end_of_stream: bool) -> Any:
            return _body_decision(_guarded(instance.on_response_body, chunk, end_of_stream))

    class CompletionHook:
        def on_complete(self) -> None:
            _guarded(instance.on_complete)

    class Background:
        def on_tick(self) -> int | None:
            return _guarded(instance.on_tick)

    exports = [Lifecycle, RequestHook, ResponseHook, RequestBodyHook, ResponseBodyHook, CompletionHook, Background]
    module = sys.modules[cls.__module__]
    for export in exports:
        setattr(module, export.__name__, export)
    return cls


class _Lines:
    """Writes printed text as lines of the plugin's log: a plugin has no other output."""

    def __init__(self) -> None:
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            _log.write(_log.Level.INFO, well_formed(line), [])
        return len(text)

    def flush(self) -> None:
        pass


def _guarded(hook: Any, *arguments: Any) -> Any:
    """If a hook raises, the error is logged and the hook fails: `on_error` decides about the request."""
    try:
        return hook(*arguments)
    except Exception as error:
        _log.write(_log.Level.ERROR, _told(error), [])
        raise


def _told(error: BaseException) -> str:
    """The error, and where it was raised. The module traceback would open source files, which ends a plugin."""
    lines = ["Traceback (most recent call last):"]
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {at.tb_lineno}, in {code.co_name}')
        at = at.tb_next
    return well_formed("\n".join([*lines, f"{type(error).__name__}: {error}"]))


def _decision(decided: Any) -> Any:
    match decided:
        case None:
            return Decision_Proceed()
        case Response():
            return Decision_Respond(decided.local)
        case Abort():
            return Decision_Abort()
    raise TypeError(f"{decided!r} is no decision")


def _body_decision(decided: Any) -> Any:
    match decided:
        case None:
            return BodyDecision_Pass()
        case Hold():
            return BodyDecision_Hold()
        case Replace():
            return BodyDecision_Replace(decided.body)
        case Response():
            return BodyDecision_Respond(decided.local)
        case Abort():
            return BodyDecision_Abort()
    raise TypeError(f"{decided!r} is no decision")
