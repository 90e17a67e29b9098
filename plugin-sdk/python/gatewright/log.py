"""Lines in the plugin's log."""

from typing import Any

from wit_world.imports import log as _host
from wit_world.imports.log import Level

from . import well_formed

__all__ = ["Level", "debug", "enabled", "error", "info", "warn"]


def enabled(level: Level) -> bool:
    """Whether a line of this level would be kept."""
    return _host.enabled(level)


def debug(message: str, **fields: Any) -> None:
    _write(Level.DEBUG, message, fields)


def info(message: str, **fields: Any) -> None:
    _write(Level.INFO, message, fields)


def warn(message: str, **fields: Any) -> None:
    _write(Level.WARN, message, fields)


def error(message: str, **fields: Any) -> None:
    _write(Level.ERROR, message, fields)


def _write(level: Level, message: str, fields: dict[str, Any]) -> None:
    pairs = [(name, well_formed(str(value))) for name, value in fields.items()]
    _host.write(level, well_formed(message), pairs)
