"""Memory shared by all instances of the plugin in one gateway. With a `ttl_ms` of None a value never expires."""

from wit_world.imports import shared_store as _host

from . import well_formed

__all__ = ["get", "increment", "remove", "set"]


def get(key: str) -> bytes | None:
    """The bytes under a key."""
    entry = _host.get(well_formed(key))
    return entry.value if entry else None


def set(key: str, value: bytes, ttl_ms: int | None = None) -> int:
    """Writes a value and returns its new version."""
    return _host.set(well_formed(key), value, ttl_ms)


def remove(key: str) -> bool:
    return _host.remove(well_formed(key))


def increment(key: str, delta: int = 1, ttl_ms: int | None = None) -> int:
    """Adds to a counter and returns the new value. The time to live is set when the counter is created."""
    return _host.increment(well_formed(key), delta, ttl_ms)
