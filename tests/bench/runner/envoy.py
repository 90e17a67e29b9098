"""Envoy, bare, with its own policies, and with no-op Proxy-Wasm filters."""

import json
from collections.abc import Callable

import grpc
from arms import KEY, LIMIT, RESPONSE_HEADERS, Arm, Site, holds_policies, holds_tokens, needs_tool, speaks_grpc_web, translates
from bearer import BEARER, ISSUER, JWK


def envoy(site: Site) -> list[str]:
    return _envoy(site, [])


def envoy_policies(site: Site) -> list[str]:
    keys = {
        "credentials": [{"key": "k1", "client": "alice"}, {"key": "k2", "client": "bob"}],
        "key_sources": [{"header": "x-api-key"}],
    }
    return _policed(site, _filter("api_key_auth", "ApiKeyAuth", keys))


def envoy_tokens(site: Site) -> list[str]:
    """With the cache of tokens that it has for those it has seen, as the gateway has one."""
    provider = {
        "issuer": ISSUER,
        "audiences": [ISSUER],
        "local_jwks": {"inline_string": json.dumps({"keys": [JWK]})},
        "jwt_cache_config": {"jwt_cache_size": 100},
    }
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}]
    return _policed(site, _filter("jwt_authn", "JwtAuthentication", {"providers": {"bench": provider}, "rules": rules}))


def _policed(site: Site, authentication: dict) -> list[str]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}

    def setting(headers: dict[str, str]) -> list[dict]:
        action = "OVERWRITE_IF_EXISTS_OR_ADD"
        return [{"append": {"header": {"key": k, "value": v}, "append_action": action}} for k, v in headers.items()]

    return _envoy(
        site,
        [
            authentication,
            _filter(
                "local_ratelimit",
                "LocalRateLimit",
                {
                    "stat_prefix": "limit",
                    "token_bucket": {"max_tokens": LIMIT, "tokens_per_fill": LIMIT, "fill_interval": "60s"},
                    "filter_enabled": always,
                    "filter_enforced": always,
                },
            ),
            _filter(
                "header_mutation",
                "HeaderMutation",
                {
                    "mutations": {
                        "request_mutations": setting({"x-user": "alice"}),
                        "response_mutations": setting(RESPONSE_HEADERS),
                    }
                },
            ),
        ],
    )


def envoy_transcoder(site: Site) -> list[str]:
    transcoder = {
        "proto_descriptor_bin": grpc.DESCRIPTOR_SET,
        "services": ["bench.Items"],
        "auto_mapping": True,
        "request_validation_options": {"reject_unknown_method": True},
    }
    transcoding = _filter("grpc_json_transcoder", "GrpcJsonTranscoder", transcoder)
    return _envoy(site, [transcoding], grpc_at="127.0.0.2")


def envoy_grpc_web(site: Site) -> list[str]:
    return _envoy(site, [_filter("grpc_web", "GrpcWeb", {})], grpc_at="127.0.0.2")


def envoy_wasm(count: int) -> Callable[[Site], list[str]]:
    """`count` no-op Proxy-Wasm filters on V8, the only runtime that this Envoy has."""

    def prepare(site: Site) -> list[str]:
        code = {"local": {"filename": str(site.tools.no_op_filter)}}
        vm = {"vm_id": "no-op", "runtime": "envoy.wasm.runtime.v8", "code": code}
        one = lambda number: {"name": f"no-op-{number}", "root_id": f"no-op-{number}", "vm_config": vm}
        return _envoy(site, [_filter("wasm", "Wasm", {"config": one(number)}) for number in range(count)])

    return prepare


def _envoy(site: Site, filters: list[dict], grpc_at: str | None = None) -> list[str]:
    address = lambda port, host="127.0.0.1": {"socket_address": {"address": host, "port_value": port}}
    many = 1_000_000
    manager = {
        "stat_prefix": "front",
        "generate_request_id": False,
        "http_filters": [*filters, _filter("router", "Router", {})],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}
            ]
        },
    }
    cluster = {
        "name": "up",
        "type": "STATIC",
        "circuit_breakers": {
            "thresholds": [{"max_connections": many, "max_pending_requests": many, "max_requests": many}]
        },
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(site.upstream, grpc_at or "127.0.0.1")}}]}],
        },
    }
    if grpc_at:
        http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
        options = _typed("upstreams.http", "HttpProtocolOptions", http2)["typed_config"]
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    connection = _typed("filters.network.http_connection_manager", "HttpConnectionManager", manager)
    listener = {"name": "front", "address": address(site.port), "filter_chains": [{"filters": [connection]}]}
    path = site.write("envoy.json", json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [str(site.tools.envoy), "-c", str(path), *flags]


def _filter(name: str, message: str, value: dict) -> dict:
    return _typed(f"filters.http.{name}", message, value)


def _typed(name: str, message: str, value: dict) -> dict:
    return {
        "name": f"envoy.{name}",
        "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{name}.v3.{message}", **value},
    }


ARMS = [
    Arm("envoy", envoy, needs_tool("envoy")),
    translates("envoy", envoy_transcoder, needs_tool("envoy")),
    speaks_grpc_web("envoy", envoy_grpc_web, needs_tool("envoy")),
    Arm("envoy policies", envoy_policies, needs_tool("envoy"), headers=KEY, prove=holds_policies),
    Arm("envoy tokens", envoy_tokens, needs_tool("envoy"), headers=BEARER, prove=holds_tokens),
    *(Arm(f"envoy + {count} wasm", envoy_wasm(count), needs_tool("envoy", "no_op_filter")) for count in (1, 4, 16)),
]
