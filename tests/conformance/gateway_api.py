"""Plays the conformance rows of the Kubernetes Gateway API: each test's routes become a configuration of ours, each row
a request, and what answers, what it got and what the client gets is compared.

usage: gateway_api.py GATEWRIGHT SUITES

Not played: rows about objects and permissions of a cluster (several Gateways, ListenerSets, ReferenceGrants), about
certificates in it, and about 421 for a host that a TLS listener does not have. Exits with 1 where another row fails.
"""

import contextlib
import http.client
import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.parse

from gateway import free_port, running

# Tests beside those that the suite calls simple. GRPCRouteRequestHeaderModifier is none of them: three rules of its manifest
# match the same, and its rows want the filters of all three, where the first rule wins by its own precedence.
ALSO = {
    "GatewayHTTPListenerIsolation",
    "GRPCExactMethodMatching",
    "GRPCRouteHeaderMatching",
    "HTTPRouteRetry",
    "HTTPRouteRetryWithTimeouts",
}
BACKENDS = [f"{kind}infra-backend-v{number}" for kind in ("", "grpc-") for number in (1, 2, 3)]
GRPC_SERVICE = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho"
# What a host without one in its row is called.
HOST = "gateway.test"
PATIENCE = 10.0


def main() -> int:
    binary, suites = sys.argv[1], pathlib.Path(sys.argv[2]) / "gateway-api"
    rows = [json.loads(line) for line in (suites / "cases.jsonl").read_text().splitlines()]
    manifests = json.loads((suites / "manifests_by_test.json").read_text())
    backends = {name: Backend() for name in BACKENDS}
    played, failed = {"simple": 0, "other": 0}, []
    tests = sorted({row["test"] for row in rows if row["simple"] or row["test"] in ALSO})
    with h2c_in_front_of(binary, backends["infra-backend-v1"]) as h2c:
        for test in tests:
            front = free_port()
            config = translate(test, manifests[test]["objects"], backends, h2c)
            config["listeners"] = [f"127.0.0.1:{front}"]
            with running(binary, config):
                for row in (row for row in rows if row["test"] == test):
                    played["simple" if row["simple"] else "other"] += 1
                    for backend in backends.values():
                        backend.forget()
                    if wrong := play(row, front, backends):
                        failed.append(f"{row['id']}: {wrong}")
    total = sum(played.values())
    verdict = "FAIL" if failed else "ok  "
    print(
        f"{verdict} gateway-api: {total - len(failed)} of {total} rows"
        f" ({played['simple']} simple, {played['other']} others; {len(rows) - total} are about a cluster)"
    )
    print("".join(f"  {line}\n" for line in failed), end="")
    return 1 if failed else 0


# ---------------------------------------------------------------------------------------------- the servers behind


class Backend:
    """A server that remembers what it got and answers as the row's query or headers say."""

    def __init__(self):
        self.requests, self.lock = [], threading.Lock()
        # Statuses to answer with first, and how long each of them takes.
        self.failures, self.delay = [], 0.0
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                # The gateway ends a connection whose answer it does not wait for.
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                self.rfile.read(length)
                if self.headers.get("transfer-encoding") == "chunked":
                    while self.rfile.readline().strip() != b"0":
                        self.rfile.readline()
                    self.rfile.readline()
                target = urllib.parse.urlsplit(self.path)
                with backend.lock:
                    backend.requests.append((self.command, self.path, self.headers))
                    status, wait = (backend.failures.pop(0), backend.delay) if backend.failures else (200, 0.0)
                if asked := urllib.parse.parse_qs(target.query).get("delay"):
                    wait = seconds(asked[0])
                time.sleep(wait)
                self.send_response(status)
                is_grpc = self.headers.get("content-type", "").startswith("application/grpc")
                if is_grpc:
                    self.send_header("content-type", "application/grpc")
                    self.send_header("grpc-status", "0")
                self.send_header("content-length", "0")
                self.end_headers()

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def forget(self):
        with self.lock:
            self.requests, self.failures, self.delay = [], [], 0.0

    def got(self) -> list:
        with self.lock:
            return list(self.requests)


@contextlib.contextmanager
def h2c_in_front_of(binary: str, backend: Backend):
    """The port of a server that speaks HTTP/2 without TLS and nothing else: another gateway."""
    port = free_port()
    config = {
        "workers": 1,
        "listeners": [{"address": f"127.0.0.1:{port}", "protocols": ["h2"]}],
        "access_log": "off",
        "upstreams": {"backend": [f"127.0.0.1:{backend.port}"]},
        "routes": [{"match": {}, "to": "backend"}],
    }
    with running(binary, config):
        yield port


# ------------------------------------------------------------------------------ from objects of Kubernetes to ours


def translate(test: str, objects: list, backends: dict, h2c: int) -> dict:
    upstreams = {name: [f"127.0.0.1:{backend.port}"] for name, backend in backends.items()}
    # Copies go to the same servers, as an upstream of their own.
    upstreams |= {f"{name}-mirror": endpoints for name, endpoints in upstreams.items()}
    upstreams["h2c"] = {"endpoints": [f"127.0.0.1:{h2c}"], "protocol": "h2c"}
    listeners = {
        listener["name"]: listener.get("hostname")
        for gateway in objects if gateway["kind"] == "Gateway"
        for listener in gateway["spec"]["listeners"]
    }
    routes = []
    for route in (one for one in objects if one["kind"] in ("HTTPRoute", "GRPCRoute")):
        sections = [parent.get("sectionName") for parent in route["spec"]["parentRefs"]]
        hosts = hosts_at(route["spec"].get("hostnames", []), [listeners.get(section) for section in sections])
        for number, rule in enumerate(route["spec"]["rules"]):
            name = rule.get("name") or f"{route['metadata']['name']}-{number}"
            routes.append(translate_rule(name, rule, hosts, upstreams, route["kind"] == "GRPCRoute"))
    # A listener with a host of its own takes every request for it, and has a 404 where none of its routes does.
    for section, host in listeners.items():
        if host and test == "GatewayHTTPListenerIsolation":
            nothing = {"echo": {"respond": {"status": 404}}}
            routes.append({"name": f"listener-{section}", "match": {"host": host}, "plugins": [nothing]})
    return {"workers": 1, "access_log": "off", "upstreams": upstreams, "routes": routes}


def hosts_at(hosts: list, listeners: list) -> list:
    """The hosts of a route that its listeners have."""
    found = []
    for listener in listeners or [None]:
        if listener is None or not hosts:
            found += hosts if listener is None else [listener]
            continue
        within = lambda inner, outer: inner == outer or (outer[0] == "*" and inner.endswith(outer[1:]))
        found += [host if within(host, listener) else listener for host in hosts
                  if within(host, listener) or within(listener, host)]
    return list(dict.fromkeys(found))


def translate_rule(name: str, rule: dict, hosts: list, upstreams: dict, is_grpc: bool) -> dict:
    matches = [translate_match(match, hosts, is_grpc) for match in rule.get("matches") or [{}]]
    route = {"name": name, "match": matches, "plugins": []}
    for filter in rule.get("filters", []):
        apply_filter(route, filter)
    targets = []
    for backend in rule.get("backendRefs", []):
        upstream = "h2c" if backend.get("port") == 8081 else backend["name"]
        target = {"upstream": upstream, "weight": backend.get("weight", 1)}
        for filter in backend.get("filters", []):
            if filter["type"] == "RequestRedirect":
                del target["upstream"]
                target["redirect"] = redirect(filter["requestRedirect"])
            elif filter["type"] == "URLRewrite":
                target["rewrite"] = rewrite(filter["urlRewrite"])
            elif filter["type"] == "RequestHeaderModifier":
                target["request_headers"] = changes(filter["requestHeaderModifier"])
            else:
                raise ValueError(f"a filter of a backend: {filter['type']}")
        if upstream in upstreams:
            targets.append(target)
    if targets:
        route["to"] = targets
    elif "redirect" not in route:
        # Nobody answers; a plugin that lets everything by makes that no mistake.
        route["plugins"].append({"headers": {}})
    timeouts = {"request": rule.get("timeouts", {}).get("request"), "attempt": rule.get("timeouts", {}).get("backendRequest")}
    route["timeouts"] = {key: value for key, value in timeouts.items() if value and value != "0s"}
    if retry := rule.get("retry"):
        # The first attempt is none of theirs. Without codes, what fails on the way is tried again.
        attempts = {"attempts": retry.get("attempts", 1) + 1, "backoff": {"base": "1ms", "max": "1ms"}}
        route["retries"] = attempts | {"on": ["connect-failure", "reset", "timeout"], "statuses": retry.get("codes", [])}
    return route


def translate_match(match: dict, hosts: list, is_grpc: bool) -> dict:
    ours = {"host": hosts} if hosts else {}
    if path := match.get("path"):
        value = path.get("value", "/")
        if path.get("type") == "Exact":
            ours["path"] = value
        elif path.get("type") == "RegularExpression":
            ours["path"] = {"regex": value}
        elif value != "/":
            ours["path"] = value.rstrip("/") + "/*"
    if is_grpc:
        method = match.get("method", {})
        is_regex = method.get("type") == "RegularExpression"
        parts = {key: method[key] for key in ("service", "method") if key in method}
        ours["grpc"] = {key: {"regex": value} if is_regex else value for key, value in parts.items()}
    elif "method" in match:
        ours["methods"] = [match["method"]]
    for theirs, key in (("headers", "headers"), ("queryParams", "query")):
        values = {}
        for one in match.get(theirs, []):
            value = {"regex": one["value"]} if one.get("type") == "RegularExpression" else one["value"]
            # Of conditions on one name the first counts.
            values.setdefault(one["name"].lower() if key == "headers" else one["name"], value)
        if values:
            ours[key] = values
    return ours


def apply_filter(route: dict, filter: dict):
    kind = filter["type"]
    if kind in ("RequestHeaderModifier", "ResponseHeaderModifier"):
        direction = "request" if kind.startswith("Request") else "response"
        modifier = filter[kind[0].lower() + kind[1:]]
        route["plugins"].append({"headers": {direction: changes(modifier)}})
    elif kind == "RequestRedirect":
        route["redirect"] = redirect(filter["requestRedirect"])
    elif kind == "URLRewrite":
        route["rewrite"] = rewrite(filter["urlRewrite"])
    elif kind == "RequestMirror":
        mirror = filter["requestMirror"]
        fraction = mirror.get("fraction", {"numerator": mirror.get("percent", 100)})
        percent = fraction["numerator"] * 100 / fraction.get("denominator", 100)
        copy = {"upstream": f"{mirror['backendRef']['name']}-mirror", "percent": percent}
        route.setdefault("mirror", []).append(copy)
    elif kind == "CORS":
        route["plugins"].insert(0, {"cors": cors(filter["cors"])})
    else:
        raise ValueError(f"a filter: {kind}")


def changes(modifier: dict) -> dict:
    pairs = lambda key: {one["name"]: one["value"] for one in modifier.get(key, [])}
    return {"set": pairs("set"), "append": pairs("add"), "remove": modifier.get("remove", [])}


def path(modifier: dict | None) -> dict:
    if not modifier:
        return {}
    if modifier["type"] == "ReplaceFullPath":
        return {"path": modifier["replaceFullPath"]}
    return {"path": {"prefix": modifier["replacePrefixMatch"] or "/"}}


def redirect(filter: dict) -> dict:
    ours = {"scheme": filter.get("scheme"), "host": filter.get("hostname"), "port": filter.get("port"), "status": filter.get("statusCode", 302)}
    return {key: value for key, value in ours.items() if value is not None} | path(filter.get("path"))


def rewrite(filter: dict) -> dict:
    return ({"host": filter["hostname"]} if "hostname" in filter else {}) | path(filter.get("path"))


def cors(filter: dict) -> dict:
    credentials = filter.get("allowCredentials", False)
    origins = filter["allowOrigins"]
    if credentials and "*" in origins:
        # What everybody with credentials means is said in so many words.
        origins = ["https://*", "http://*"]
    ours = {"origins": origins, "credentials": credentials, "max_age": f"{filter.get('maxAge', 5)}s"}
    for theirs, key in (("allowMethods", "methods"), ("allowHeaders", "headers"), ("exposeHeaders", "expose")):
        if theirs in filter:
            ours[key] = filter[theirs]
    return ours


# ------------------------------------------------------------------------------------------------------- the rows


def play(row: dict, front: int, backends: dict) -> str | None:
    """What is wrong, if anything."""
    if "grpc" in row:
        return play_grpc(row["grpc"], front, backends)
    if "table" in row:
        return play_retries(row["table"], front, backends["infra-backend-v3"])
    expect = row["expect"]
    if "distribution" in expect:
        return play_distribution(row["request"], expect, front, backends)
    request = row["request"]
    if "H2C" in request.get("protocol", ""):
        status, headers = ask_http2(front, request["method"], request["path"], {})
    else:
        status, headers = ask(front, request)
    if status not in expect["status"]:
        return f"{status}, not {expect['status']}"
    return (
        wrong_response(expect, headers)
        or wrong_redirect(request, expect, headers)
        or wrong_backend(expect, backends)
        or wrong_mirrors(expect, request, backends)
    )


def ask(front: int, request: dict) -> tuple[int, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", front, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.putrequest(request["method"], request["path"], skip_host=True, skip_accept_encoding=True)
        connection.putheader("host", request.get("host") or HOST)
        for name, value in (request.get("headers") or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response.status, response.headers


def ask_http2(front: int, method: str, target: str, headers: dict, body: bytes = b"") -> tuple[int, http.client.HTTPMessage]:
    fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "--http2-prior-knowledge", "-m", str(PATIENCE), "-D", "-", "-o", "/dev/null", "-X", method]
    data = ["--data-binary", "@-"] if body else []
    url = f"http://127.0.0.1:{front}{target}"
    done = subprocess.run([*command, *fields, *data, url], input=body, capture_output=True, check=True)
    status, _, fields = done.stdout.partition(b"\r\n")
    message = http.client.HTTPMessage()
    for line in fields.decode().splitlines():
        name, colon, value = line.partition(":")
        if colon:
            message[name] = value.strip()
    return int(status.split()[1]), message


def wrong_response(expect: dict, headers) -> str | None:
    joined = lambda name: ", ".join(headers.get_all(name) or [])
    plain = (lambda text: re.sub(r"\s", "", text)) if expect.get("ignore_whitespace") else (lambda text: text)
    wanted = {name: [value] for name, value in expect.get("response_headers", {}).items()}
    for name, values in (wanted | expect.get("response_header_one_of", {})).items():
        if plain(joined(name)).lower() not in [plain(value).lower() for value in values]:
            return f"{name} is {joined(name)!r}, not one of {values}"
    for name in expect.get("response_absent_headers", []):
        if name in headers:
            return f"{name} is there: {joined(name)!r}"
    return None


def wrong_redirect(request: dict, expect: dict, headers) -> str | None:
    if "redirect" not in expect:
        return None
    location = urllib.parse.urlsplit(headers.get("location", ""))
    wanted = {"host": (request.get("host") or HOST).split(":")[0], "path": request["path"]} | expect["redirect"]
    got = {"scheme": location.scheme, "host": location.hostname, "port": str(location.port or ""), "path": location.path}
    differs = [key for key, value in wanted.items() if str(value) != got[key]]
    return f"{location.geturl()!r} is not {wanted}" if differs else None


def wrong_backend(expect: dict, backends: dict) -> str | None:
    if "backend" not in expect:
        return None
    got = backends[expect["backend"]].got()
    if not got:
        return f"{expect['backend']} got nothing; {[name for name, other in backends.items() if other.got()]} did"
    method, target, headers = got[0]
    wanted = expect.get("backend_request", {})
    if target.partition("?")[0] != wanted.get("path", target).partition("?")[0]:
        return f"the backend got {target}"
    if "host" in wanted and headers["host"] != wanted["host"]:
        return f"the backend got the host {headers['host']}"
    for name, value in wanted.get("headers", {}).items():
        if without_spaces(",".join(headers.get_all(name) or [])) != without_spaces(value):
            return f"the backend got {name}: {headers.get_all(name)}"
    for name in expect.get("backend_request_absent_headers", []):
        if name in headers:
            return f"the backend got {name}"
    return None


def without_spaces(text: str) -> str:
    return re.sub(r"\s", "", text)


def wrong_mirrors(expect: dict, request: dict, backends: dict) -> str | None:
    for mirror in expect.get("mirrored_to", []):
        backend = backends[mirror["name"]]
        deadline = time.monotonic() + PATIENCE
        while not backend.got() and time.monotonic() < deadline:
            time.sleep(0.005)
        copies = [(method, target) for method, target, _ in backend.got()]
        if copies != [(request["method"], request["path"])]:
            return f"{mirror['name']} got the copies {copies}"
    return None


def play_distribution(request: dict, expect: dict, front: int, backends: dict) -> str | None:
    for _ in range(expect["requests"]):
        status, _ = ask(front, request)
        if status != 200:
            return f"{status}"
    for name, share in expect["distribution"].items():
        got = len(backends[name].got()) / expect["requests"]
        if abs(got - share) > expect["tolerance_abs"]:
            return f"{name} got {got}, not {share}"
    return None


def play_retries(table: dict, front: int, backend: Backend) -> str | None:
    simulation = table["args"]["retrySimulationConfig"]
    with backend.lock:
        status = int(simulation["responseCode"][0])
        backend.failures = [status] * int(simulation["succeedAfter"][0])
        backend.delay = seconds(simulation.get("delayRetry", ["0ms"])[0])
    status, _ = ask(front, {"method": "GET", "path": table["args"]["path"]})
    wanted = table["want"]["StatusCode"]
    return None if status == wanted else f"{table['name']}: {status}, not {wanted}, after {len(backend.got())} attempts"


def play_grpc(row: dict, front: int, backends: dict) -> str | None:
    method = next(key for key in row if key.startswith("Echo") and key.endswith("Request")).removesuffix("Request")
    metadata = row.get("RequestMetadata") or {}
    headers = {"content-type": "application/grpc", "te": "trailers"} | (metadata.get("Metadata") or {})
    if "Authority" in metadata:
        headers["host"] = metadata["Authority"]
    status, answer = ask_http2(front, "POST", f"/{GRPC_SERVICE}/{method}", headers, b"\0\0\0\0\0")
    response = row.get("Response") or {}
    wanted = "12" if response.get("Code") == "$codes.Unimplemented" else "0"
    if answer.get("grpc-status") != wanted:
        return f"HTTP {status}, gRPC {answer.get('grpc-status')}, not {wanted}"
    wrong = wrong_backend({"backend": row["Backend"]} if "Backend" in row else {}, backends)
    if wrong or not response.get("Headers"):
        return wrong
    _, _, got = backends[row["Backend"]].got()[0]
    for name, values in response["Headers"].items():
        if without_spaces(",".join(got.get_all(name) or [])) != without_spaces(",".join(values)):
            return f"the backend got {name}: {got.get_all(name)}, not {values}"
    return None


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s)", text).groups()
    return int(number) / (1000 if unit == "ms" else 1)


if __name__ == "__main__":
    sys.exit(main())
