"""Mark Nottingham's http-cache-tests (npm) through the gateway's response cache.

    python3 tests/conformance/cache.py GATEWAY-BINARY [TEST-ID]

Prints the totals and what failed; fails where fewer pass than before. With TEST-ID, shows that test alone.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import gateway

VERSION = "0.4.5"
# What passes: fewer is a step back.
REQUIRED, OPTIMAL = 150, 76

TOTALS = """
import tests from './node_modules/http-cache-tests/tests/index.mjs'
import fs from 'fs'
const results = JSON.parse(fs.readFileSync(0))
const all = new Map(tests.flatMap(suite => suite.tests).filter(test => !test.browser_only).map(test => [test.id, test]))
const passes = id => results[id] === true && (all.get(id)?.depends_on || []).every(passes)
const totals = {}
for (const [id, test] of all) {
  const kind = test.kind || 'required'
  const total = totals[kind] ||= { passed: 0, all: 0, failed: [] }
  total.all += 1
  if (passes(id)) total.passed += 1
  else total.failed.push([id, results[id]?.[1] || 'depends on one that failed'])
}
console.log(JSON.stringify(totals))
"""


def install() -> pathlib.Path:
    folder = pathlib.Path.home() / ".cache/gatewright/tools" / f"http-cache-tests-{VERSION}"
    if not (folder / "node_modules/http-cache-tests").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"http-cache-tests@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True)
    return folder


def main(binary: str, test: str = "") -> int:
    folder = install()
    suite = folder / "node_modules/http-cache-tests"
    origin, port = gateway.free_port(), gateway.free_port()
    config = {
        "listeners": [f"127.0.0.1:{port}"],
        "access_log": "off",
        "upstreams": {"origin": [f"127.0.0.1:{origin}"]},
        # The suite wants cookies stored, which is not our default.
        "routes": [{"match": {}, "cache": {"cookies": True}, "to": "origin"}],
    }
    with tempfile.TemporaryDirectory() as scratch:
        env = dict(os.environ, npm_config_protocol="http", npm_config_port=str(origin))
        env |= {"npm_config_pidfile": f"{scratch}/pid", "npm_config_base": f"http://127.0.0.1:{port}"}
        # As `npm run` sets it; empty is all.
        env["npm_package_config_id"] = test
        server = subprocess.Popen(["node", "server/server.mjs"], cwd=suite, env=env, stdout=subprocess.PIPE, text=True)
        try:
            server.stdout.readline()
            with gateway.running(binary, config):
                client = ["node", "--no-warnings", "cli.mjs"]
                results = subprocess.run(client, cwd=suite, env=env, capture_output=True, text=True, timeout=600)
        finally:
            server.terminate()
            server.wait()
    if test:
        print(results.stdout)
        return 0
    results = results.stdout[results.stdout.index("{"):]
    node = ["node", "--no-warnings", "--input-type=module", "-e", TOTALS]
    totals = json.loads(subprocess.run(node, cwd=folder, input=results, capture_output=True, text=True, check=True).stdout)
    for kind in ("required", "optimal", "check"):
        total = totals[kind]
        print(f"{kind}: {total['passed']} of {total['all']}")
        if kind != "check":
            for name, why in total["failed"]:
                print(f"    {name}: {why}")
    is_good = totals["required"]["passed"] >= REQUIRED and totals["optimal"]["passed"] >= OPTIMAL
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
