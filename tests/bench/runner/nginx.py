"""nginx: the upstream behind every proxy, and a peer, bare and with policies in Lua."""

import os
import subprocess
from pathlib import Path

import grpc
from arms import (
    KEY,
    LIMIT,
    RESPONSE_HEADERS,
    Arm,
    Site,
    Tools,
    at_layer_4,
    certificate,
    holds_policies,
    mebibytes,
    needs,
    over_tls,
    program,
    remembers,
)


def upstream_command(folder: Path, port: int) -> list[str]:
    """nginx with one worker, answering 1 KiB. It tells which user a policy has put into the request."""
    return _nginx(
        folder,
        f"""
        server {{
          listen 127.0.0.1:{port} backlog=4096;
          default_type text/plain;
          location / {{ add_header x-seen-user $http_x_user; return 200 "{"x" * 1024}"; }}
          location = /mebibyte {{ root {_mebibyte(folder)}; }}
        }}
        server {{
          # A server of gRPC, at another address: it answers every call with the same message.
          listen 127.0.0.2:{port} http2 backlog=4096;
          root {_grpc(folder)};
          default_type application/grpc;
          location / {{ add_trailer grpc-status 0; error_page 405 =200 /reply; try_files /reply =404; }}
        }}""",
    )


def _grpc(folder: Path) -> Path:
    (folder / "reply").write_bytes(grpc.frame())
    return folder


def _mebibyte(folder: Path) -> Path:
    (folder / "mebibyte").write_bytes(bytes(1 << 20))
    return folder


def forwarding(site: Site) -> list[str]:
    module = "".join(f"load_module {_MODULES / _STREAM};\n" for _ in [0] if (_MODULES / _STREAM).exists())
    server = f"server {{ listen 127.0.0.1:{site.port} backlog=4096; proxy_pass 127.0.0.1:{site.upstream}; }}"
    return _nginx(site.folder, "", module, f"stream {{ tcp_nodelay on; {server} }}")


def many_connections(site: Site) -> list[str]:
    return _nginx(site.folder, _nginx_proxy(site, ""), connections=12_288)


def nginx(site: Site) -> list[str]:
    return _nginx(site.folder, _nginx_proxy(site, ""))


def secure(site: Site) -> list[str]:
    cert, key = certificate(site)
    tls = f"""
      ssl_certificate {cert};
      ssl_certificate_key {key};
      ssl_protocols TLSv1.2 TLSv1.3;
      ssl_session_cache shared:tls:10m;"""
    return _nginx(site.folder, tls + _nginx_proxy(site, "", "ssl http2"))


def nginx_cache(site: Site) -> list[str]:
    path = f"proxy_cache_path {site.folder}/cache keys_zone=all:10m;"
    policy = """
          proxy_cache all;
          proxy_cache_valid any 1h;
          proxy_ignore_headers Cache-Control Expires;"""
    return _nginx(site.folder, path + _nginx_proxy(site, policy))


def nginx_lua(site: Site) -> list[str]:
    headers = "\n".join(f'ngx.header["{name}"] = "{value}"' for name, value in RESPONSE_HEADERS.items())
    policy = f"""
          access_by_lua_block {{
            local key = ngx.var.http_x_api_key
            local user = key and keys[key]
            if not user then return ngx.exit(401) end
            local count = ngx.shared.limits:incr(key, 1, 0, 60)
            if count > {LIMIT} then return ngx.exit(429) end
            ngx.req.set_header("x-user", user)
          }}
          header_filter_by_lua_block {{ {headers} }}"""
    globals_ = """
      lua_shared_dict limits 10m;
      init_by_lua_block { keys = { k1 = "alice", k2 = "bob" } }"""
    modules = "".join(f"load_module {_LUA / module};\n" for module in _LUA_MODULES)
    return _nginx(site.folder, globals_ + _nginx_proxy(site, policy), modules)


def _nginx_proxy(site: Site, policy: str, listen: str = "") -> str:
    return f"""
      upstream up {{ server 127.0.0.1:{site.upstream}; keepalive 256; keepalive_requests 1000000000; }}
      server {{
        listen 127.0.0.1:{site.port} backlog=4096 {listen};
        location / {{ {policy}
          proxy_pass http://up;
          proxy_http_version 1.1;
          proxy_set_header Connection "";
        }}
      }}"""


def _nginx(folder: Path, http: str, modules: str = "", more: str = "", connections: int = 4096) -> list[str]:
    temporary = "\n".join(f"      {kind}_temp_path {folder}/{kind};" for kind in _NGINX_TEMPORARY)
    path = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    path.write_text(
        f"""{modules}{user}
    daemon off;
    worker_processes 1;
    pid {folder}/nginx.pid;
    error_log stderr error;
    events {{ worker_connections {connections}; }}
    http {{
      access_log off;
      keepalive_timeout 1h;
      keepalive_requests 1000000000;
      client_max_body_size 0;
{temporary}
{http}
    }}
    {more}
    """
    )
    return [program("nginx"), "-p", str(folder), "-c", str(path)]


def needs_lua(tools: Tools) -> str | None:
    return needs("nginx")(tools) or (None if (_LUA / _LUA_MODULES[1]).exists() else "libnginx-mod-http-lua")


def needs_stream(tools: Tools) -> str | None:
    return needs("nginx")(tools) or (None if _has_stream() else "libnginx-mod-stream")


def _has_stream() -> bool:
    if (_MODULES / _STREAM).exists():
        return True
    built = subprocess.run([program("nginx"), "-V"], capture_output=True, text=True, check=True).stderr
    # As a module of its own it is `--with-stream=dynamic`.
    return "--with-stream " in f"{built} "


_MODULES = Path("/usr/lib/nginx/modules")
_STREAM = "ngx_stream_module.so"
_LUA = _MODULES
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
_NGINX_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

ARMS = [
    *at_layer_4("nginx", forwarding, needs_stream),
    *over_tls("nginx", secure, needs("nginx", "openssl", "h2load")),
    mebibytes("nginx", nginx, needs("nginx")),
    Arm("nginx", nginx, needs("nginx")),
    # The same again: what these two differ by is noise.
    Arm("nginx again", nginx, needs("nginx")),
    Arm("nginx cache", nginx_cache, needs("nginx"), prove=remembers),
    Arm("nginx + Lua policies", nginx_lua, needs_lua, headers=KEY, prove=holds_policies),
]
