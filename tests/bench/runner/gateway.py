"""The gateway's own arms: the same one data core, metrics on, access log off."""

import json
from collections.abc import Callable

import grpc
from arms import (
    KEY,
    LIMIT,
    RESPONSE_HEADERS,
    SERVICE,
    Arm,
    Site,
    Tools,
    answers_itself,
    at_layer_4,
    certificate,
    holds_policies,
    holds_tokens,
    mebibytes,
    over_tls,
    remembers,
    speaks_grpc_web,
    tells_of_the_limit,
    translates,
)
from bearer import BEARER, ISSUER, JWK

KEYS = {"key-auth": {"keys": [{"key": "k1", "subject": "alice"}, {"key": "k2", "subject": "bob"}]}}

# The peers add nothing to requests, as most of them do unless told to; one row has what the gateway adds by default. The same
# goes for what clients are told of a limit.
SILENT = {"x_forwarded": False, "forwarded": False, "via": False, "request_id": False}

NO_OP, CHUNKS, HOSTILE = "guest_noop", "guest_chunks", "guest_hostile"


def settings(site: Site, routes: list[dict], plugins: dict | None = None) -> dict:
    return {
        "workers": 1,
        "listeners": [f"127.0.0.1:{site.port}"],
        "upstreams": {"up": [f"127.0.0.1:{site.upstream}"]},
        "plugins": plugins or {},
        "routes": routes,
        "access_log": "off",
        "forwarding": SILENT,
    }


def route(path: str = "/*", plugins: list | None = None) -> dict:
    return {"match": {"path": path}, "plugins": plugins or [], "to": [{"upstream": "up"}]}


def command(site: Site, config: dict) -> list[str]:
    return [str(site.tools.gateway), "run", str(site.write("gateway.json", json.dumps(config)))]


def plain(site: Site) -> list[str]:
    return command(site, settings(site, [route()]))


def telling(site: Site) -> list[str]:
    """With all that upstreams are told of the client by default: seven header fields."""
    return command(site, {**settings(site, [route()]), "forwarding": {}})


def forwarding(site: Site) -> list[str]:
    """The same bytes at layer 4: nothing looks inside."""
    config = settings(site, [])
    config["listeners"] = [{"address": f"127.0.0.1:{site.port}", "protocol": "tcp", "to": "up"}]
    return command(site, config)


def secure(site: Site) -> list[str]:
    cert, key = certificate(site)
    config = settings(site, [route()])
    tls = {"certificates": [{"cert": str(cert), "key": str(key)}]}
    config["listeners"] = [{"address": f"127.0.0.1:{site.port}", "tls": tls}]
    return command(site, config)


def chain(count: int, isolation: str) -> Callable[[Site], list[str]]:
    def prepare(site: Site) -> list[str]:
        plugins = {"no-op": {"source": f"file:{site.tools.guest(NO_OP)}", "isolation": isolation}}
        return command(site, settings(site, [route(plugins=["no-op"] * count)], plugins))

    return prepare


def policies(site: Site) -> list[str]:
    return policed(site, KEYS)


def telling_clients(site: Site) -> list[str]:
    """With what clients are told of the limit by default: two header fields."""
    return policed(site, KEYS, headers=True)


def tokens(site: Site) -> list[str]:
    return policed(site, {"jwt": {"issuer": ISSUER, "audience": ISSUER, "algorithms": ["ES256"], "keys": [{"jwk": JWK}]}})


def policed(site: Site, authentication: dict, headers: bool = False) -> list[str]:
    limit = {"rate-limit": {"limit": f"{LIMIT}/min", "by": "identity", "headers": headers}}
    fields = {"headers": {"request": {"set": {"x-user": "alice"}}, "response": {"set": RESPONSE_HEADERS}}}
    return command(site, settings(site, [route(plugins=[authentication, limit, fields])]))


def cache(site: Site) -> list[str]:
    """Everything is remembered: the upstream does not say for how long."""
    remembering = route() | {"cache": {"default_ttl": "1h", "cache_status": False}}
    return command(site, settings(site, [remembering]))


def translating(site: Site) -> list[str]:
    return _before_grpc(site, {"grpc-json": {"descriptor_set": grpc.DESCRIPTOR_SET}})


def grpc_web(site: Site) -> list[str]:
    return _before_grpc(site, "grpc-web")


def _before_grpc(site: Site, plugin: dict | str) -> list[str]:
    config = settings(site, [route(plugins=[plugin])])
    config["upstreams"] = {"up": {"endpoints": [f"127.0.0.2:{site.upstream}"], "protocol": "h2c"}}
    return command(site, config)


def answering(site: Site) -> list[str]:
    """Nothing is upstream: a component answers."""
    config = settings(site, [{"match": {}, "to": {"service": "hello"}}])
    config["services"] = {"hello": {"source": f"file:{site.tools.guest(SERVICE)}"}}
    return command(site, config)


def many_routes(site: Site) -> list[str]:
    """Ten thousand routes, of which the one asked for is in the middle."""
    return command(site, settings(site, [route(f"/service-{number}/orders/*") for number in range(10_000)]))


def needs_gateway(*guests: str) -> Callable[[Tools], str | None]:
    def missing(tools: Tools) -> str | None:
        if tools.gateway is None:
            return "gatewright"
        return next((f"{name}.wasm" for name in guests if tools.guest(name) is None), None)

    return missing


ARMS = [
    Arm("gateway", plain, needs_gateway()),
    Arm("gateway, telling", telling, needs_gateway()),
    Arm("gateway + 16 no-op", chain(16, "shared"), needs_gateway(NO_OP)),
    Arm("gateway + 4 fresh", chain(4, "request"), needs_gateway(NO_OP)),
    Arm("gateway policies", policies, needs_gateway(), headers=KEY, prove=holds_policies),
    Arm("gateway policies, telling", telling_clients, needs_gateway(), headers=KEY, prove=tells_of_the_limit),
    Arm("gateway tokens", tokens, needs_gateway(), headers=BEARER, prove=holds_tokens),
    *at_layer_4("gateway", forwarding, needs_gateway()),
    *over_tls("gateway", secure, needs_gateway()),
    mebibytes("gateway", plain, needs_gateway()),
    Arm("gateway cache", cache, needs_gateway(), prove=remembers),
    translates("gateway", translating, needs_gateway()),
    speaks_grpc_web("gateway", grpc_web, needs_gateway()),
    answers_itself("gateway wasi:http", answering, needs_gateway(SERVICE)),
    Arm("gateway, 10,000 routes", many_routes, needs_gateway(), path="/service-5000/orders/1"),
]
