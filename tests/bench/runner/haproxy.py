"""haproxy, bare and with its own policies."""

from arms import (
    KEY,
    LIMIT,
    RESPONSE_HEADERS,
    Arm,
    Site,
    at_layer_4,
    certificate,
    holds_policies,
    holds_tokens,
    mebibytes,
    needs,
    over_tls,
    program,
)
from bearer import BEARER, ISSUER, PEM


def haproxy(site: Site) -> list[str]:
    return _haproxy(site, "")


def haproxy_policies(site: Site) -> list[str]:
    return _policed(
        site,
        """
      acl known req.hdr(x-api-key) -m str k1
      http-request deny deny_status 401 unless known
      http-request track-sc0 req.hdr(x-api-key) table limits""",
    )


def haproxy_tokens(site: Site) -> list[str]:
    """What is checked of a token is what `jwt` checks: algorithm, signature, issuer, audience and time."""
    key = site.write("key.pem", PEM)
    claim = lambda name: f"var(txn.bearer),jwt_payload_query('$.{name}')"
    return _policed(
        site,
        f"""
      http-request set-var(txn.bearer) http_auth_bearer
      http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
      http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
      http-request deny deny_status 401 unless {{ {claim("iss")} -m str {ISSUER} }}
      http-request deny deny_status 401 unless {{ {claim("aud")} -m str {ISSUER} }}
      http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") 1 }}
      http-request set-var(txn.now) date()
      http-request deny deny_status 401 if {{ var(txn.bearer),jwt_payload_query('$.exp','int'),sub(txn.now) -m int lt 0 }}
      http-request track-sc0 {claim("sub")} table limits
      http-request del-header authorization""",
    )


def _policed(site: Site, authentication: str) -> list[str]:
    headers = "".join(f"      http-response set-header {name} {value}\n" for name, value in RESPONSE_HEADERS.items())
    return _haproxy(
        site,
        f"""{authentication}
      http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {LIMIT} }}
      http-request set-header x-user alice
{headers}""",
        "backend limits\n      stick-table type string len 32 size 100k expire 1m store http_req_rate(60s)",
    )


def forwarding(site: Site) -> list[str]:
    path = site.write(
        "haproxy.cfg",
        f"""
    global
      nbthread 1
      maxconn 4096
    defaults
      mode tcp
      timeout connect 5s
      timeout client 60s
      timeout server 60s
    listen front
      bind 127.0.0.1:{site.port} backlog 4096
      server one 127.0.0.1:{site.upstream}
    """,
    )
    return [program("haproxy"), "-db", "-f", str(path)]


def secure(site: Site) -> list[str]:
    cert, key = certificate(site)
    both = site.write("tls-both.pem", cert.read_text() + key.read_text())
    return _haproxy(site, "", bind=f"ssl crt {both} alpn h2,http/1.1")


def many_connections(site: Site) -> list[str]:
    return _haproxy(site, "", connections=12_288)


def _haproxy(site: Site, policy: str, more: str = "", connections: int = 4096, bind: str = "") -> list[str]:
    path = site.write(
        "haproxy.cfg",
        f"""
    global
      nbthread 1
      maxconn {connections}
      no strict-limits
    defaults
      mode http
      timeout connect 5s
      timeout client 60s
      timeout server 60s
      http-reuse always
    frontend front
      bind 127.0.0.1:{site.port} backlog 4096 {bind}
{policy}
      default_backend up
    backend up
      server one 127.0.0.1:{site.upstream}
    {more}
    """,
    )
    return [program("haproxy"), "-db", "-f", str(path)]


ARMS = [
    *at_layer_4("haproxy", forwarding, needs("haproxy")),
    *over_tls("haproxy", secure, needs("haproxy", "openssl", "h2load")),
    mebibytes("haproxy", haproxy, needs("haproxy")),
    Arm("haproxy", haproxy, needs("haproxy")),
    Arm("haproxy policies", haproxy_policies, needs("haproxy"), headers=KEY, prove=holds_policies),
    Arm("haproxy tokens", haproxy_tokens, needs("haproxy"), headers=BEARER, prove=holds_tokens),
]
