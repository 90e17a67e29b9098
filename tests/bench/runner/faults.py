"""What happens to everybody else while something goes wrong or is changed: the rows that no CPU time answers.

Latencies come from a paced load that the gateway carries with ease. The gateway has all cores here and one data core
(`"workers": 1`), as an operator would run it: what compiles a plugin is not what serves requests.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import languages
from arms import Site, Tools
from bodies import BodyServer, download, upload
from figures import figure
from gateway import CHUNKS, HOSTILE, NO_OP, command, needs_gateway, route, settings
from load import Paced, PacedLoad, answers, ask, paced
from measure import Pace, Raw, upstream
from processes import ALL_CORES, Child, Failed, free_port
from report import Line


@dataclass(frozen=True)
class Fault:
    # The rows that its rounds give, each with its unit, bar and aim.
    rows: list[tuple[str, str, float | None, float | None]]
    guests: tuple[str, ...]
    # One round: a value for each row.
    round: Callable[[Tools, Raw], list[float]]


def lines(only: str, pace: Pace, tools: Tools, raw: Raw, say) -> list[Line]:
    found = []
    for fault in FAULTS:
        wanted = [index for index, row in enumerate(fault.rows) if only in row[0]]
        if not wanted:
            continue
        missing = needs_gateway(*fault.guests)(tools)
        rounds = []
        for number in range(0 if missing else pace.fault_rounds):
            say(f"round {number + 1} of {pace.fault_rounds}: {fault.rows[0][0]}")
            rounds.append(fault.round(tools, raw))
        for index in wanted:
            what, unit, bar, aim = fault.rows[index]
            measured = None if missing else figure([values[index] for values in rounds])
            found.append(Line(what, bar, aim, unit, measured, f"no {missing}" if missing else ""))
    return found


def swaps(tools: Tools, raw: Raw) -> list[float]:
    """A plugin and the configuration are replaced over and over while requests run through both."""
    with upstream() as upstream_port, _gateway(tools, upstream_port, _swapped) as (child, site, admin):
        component = tools.guest(NO_OP).read_bytes()
        # The same plugin in two versions: they differ by a section that nobody reads.
        versions = [component + _custom_section(f"version {number}") for number in range(2)]
        for version in versions:
            _put(admin, "/plugins/no-op", version)
        calm = _calm(site)
        before = child.memory_bytes("VmRSS")
        loads, changes = [], 0
        while changes < SWAPS + RELOADS:
            load = PacedLoad(site.folder, site.port, "/", {}, SECONDS)
            with load.child:
                while load.running and changes < SWAPS + RELOADS:
                    _change(admin, changes, versions)
                    changes += 1
                loads.append(load.result())
        seen = Paced.merged(loads)
        after = _settled(child, before)
        raw.write(kind="swaps", calm=calm.summary(), changed=seen.summary(), memory_before=before, memory_after=after)
        return [seen.failed, after / before, seen.p99_us / calm.p99_us]


def uploads(tools: Tools, raw: Raw) -> list[float]:
    """A plugin of a megabyte or more (JavaScript with its interpreter) that says which one it is is replaced under load."""
    versions = {word: _saying(word, tools) for word in ("one", "two")}
    with upstream() as upstream_port, _gateway(tools, upstream_port, lambda site: _said(site, versions["one"])) as (_, site, admin):
        calm = _calm(site)
        words = ["two", "one"]
        components = {word: component.read_bytes() for word, component in versions.items()}
        for word in words:
            _upload(site, admin, word, components[word])
        cached = [_upload(site, admin, words[number % 2], components[words[number % 2]]) for number in range(10)]
        compiled = []
        load = PacedLoad(site.folder, site.port, "/", {}, SECONDS)
        with load.child:
            while load.running:
                word = words[len(compiled) % 2]
                compiled.append(_upload(site, admin, word, components[word] + _custom_section(f"{len(compiled)}")))
            seen = load.result()
        raw.write(kind="uploads", calm=calm.summary(), changed=seen.summary(), cached=cached, compiled=compiled)
        if seen.failed:
            raise Failed(f"{seen.failed} requests failed while a plugin was replaced")
        return [median(cached) * 1e3, median(compiled), seen.p99_us / calm.p99_us]


def looping(tools: Tools, raw: Raw) -> list[float]:
    """A plugin that never returns, asked a hundred times a second on a route of its own."""
    with upstream() as upstream_port, _gateway(tools, upstream_port, _looping) as (_, site, _admin):
        calm = _calm(site)
        # It goes on a little longer than the two loads beside it.
        offender = PacedLoad(site.folder, site.port, "/loop", {"x-misbehave": "1"}, 2 * SECONDS + 2, per_second=100, clients=4)
        with offender.child:
            first = paced(site.folder, site.port, "/", {}, SECONDS)
            later = paced(site.folder, site.port, "/", {}, SECONDS)
            looped = offender.result()
        raw.write(
            kind="looping",
            calm=calm.summary(),
            first=first.summary(),
            later=later.summary(),
            offender=looped.summary(),
        )
        if looped.failed < looped.requests:
            raise Failed("the plugin that is meant to loop has let requests through")
        if first.failed or later.failed:
            raise Failed(f"{first.failed + later.failed} innocent requests failed beside a looping plugin")
        return [first.p99_us / calm.p99_us, later.p99_us / calm.p99_us]


def bodies(guest: str | None) -> Callable[[Tools, Raw], list[float]]:
    def round(tools: Tools, raw: Raw) -> list[float]:
        with (
            BodyServer() as server,
            _gateway(tools, server.port, lambda site: _bodies(site, guest)) as (child, site, _),
        ):
            # A first, short body of each kind, so that what is allocated once is not counted.
            upload(site.port, 1 << 20)
            download(site.port, 1 << 20)
            growth = {}
            for name, transfer in (("upload", upload), ("download", download)):
                before = child.memory_bytes("VmRSS")
                child.forget_peak()
                transfer(site.port, BODY_BYTES)
                growth[name] = (child.memory_bytes("VmHWM") - before) / (1 << 20)
            raw.write(kind="bodies", guest=guest, growth_mib=growth)
            return [max(growth.values())]

    return round


# ------------------------------------------------------------------ gateways


def _swapped(site: Site) -> dict:
    plugins = {"no-op": {"source": f"file:{site.tools.guest(NO_OP)}"}}
    return settings(site, [route(plugins=["no-op"])], plugins)


def _said(site: Site, component: Path) -> dict:
    return settings(site, [route(plugins=["said"])], {"said": {"source": f"file:{component}"}})


def _looping(site: Site) -> dict:
    plugins = {"hostile": {"source": f"file:{site.tools.guest(HOSTILE)}"}}
    loop = {"hostile": {"do": "loop", "in": "on-request"}}
    return settings(site, [route("/loop", [loop]), route()], plugins)


def _bodies(site: Site, guest: str | None) -> dict:
    plugins = {"watch": {"source": f"file:{site.tools.guest(guest)}"}} if guest else {}
    config = settings(site, [route(plugins=[{"watch": {"do": "pass"}}] if guest else [])], plugins)
    return {**config, "limits": {"request_body": "4GiB"}}


@contextmanager
def _gateway(tools: Tools, upstream_port: int, config: Callable[[Site], dict]) -> Iterator[tuple[Child, Site, int]]:
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as name:
        site = Site(Path(name), free_port(), upstream_port, tools)
        admin = free_port()
        cache = site.folder / "cache"
        cache.mkdir(mode=0o700)
        whole = {
            **config(site),
            "admin": {"address": f"127.0.0.1:{admin}"},
            "compile_cache": {"directory": str(cache)},
        }
        with Child("gateway", command(site, whole), site.folder, ALL_CORES) as child:
            child.wait_until(lambda: answers(site.port), "an answer")
            yield child, site, admin


def _saying(word: str, tools: Tools) -> Path:
    """A component that answers with a word."""
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as name:
        source = Path(name) / "src/plugin.js"
        source.parent.mkdir()
        source.write_text(SAYING.replace("WORD", word))
        component = languages.build("js", Path(name), tools)
    return component.rename(component.parents[2] / f"said-{word}.wasm")


def _upload(site: Site, admin: int, word: str, component: bytes) -> float:
    """Seconds from the upload's first byte until a request is answered by that version."""
    began = time.monotonic()
    _put(admin, "/plugins/said", component)
    while ask(site.port, "/").body != word.encode():
        if time.monotonic() > began + 30:
            raise Failed(f"the plugin that says {word} has not taken over")
    return time.monotonic() - began


def _change(admin: int, number: int, versions: list[bytes]) -> None:
    """Every sixth change is the configuration: the same but for the name of its route; the others are the plugin."""
    if number % 6 != 5:
        _put(admin, "/plugins/no-op", versions[number % 2])
        return
    answer = ask(admin, "/config")
    config = json.loads(answer.body)
    config["routes"][0]["name"] = f"changed-{number}"
    _put(admin, "/config", json.dumps(config).encode(), {"if-match": answer.headers["etag"]})


def _put(admin: int, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    answer = ask(admin, path, headers, "PUT", body)
    if answer.status // 100 != 2:
        raise Failed(f"PUT {path}: {answer.status} {answer.body[:400].decode(errors='replace')}")


def _calm(site: Site) -> Paced:
    """The latency that all that follows is compared with; the first load only warms the gateway up."""
    paced(site.folder, site.port, "/", {}, 1)
    return paced(site.folder, site.port, "/", {}, SECONDS)


def _settled(child: Child, before: int, seconds: float = 10) -> int:
    """Memory once what was replaced has been let go, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while (now := child.memory_bytes("VmRSS")) > before * 1.05 and time.monotonic() < deadline:
        time.sleep(0.1)
    return now


def _custom_section(text: str) -> bytes:
    # Section 0: its length, the length of its name, the name, and no content. All lengths here are below 128.
    name = text.encode()
    return bytes([0, len(name) + 1, len(name)]) + name


SAYING = """
import { definePlugin, respond } from "../sdk/plugin.js";

export const { lifecycle, requestHook } = definePlugin({
  name: "said",
  version: "1.0.0",
  onRequest: () => respond(200, { body: "WORD" }),
});
"""
SWAPS, RELOADS = 1000, 200
SECONDS = 5
BODY_BYTES = 1 << 30

FAULTS = [
    Fault(
        [
            ("1,000 swaps of a plugin and 200 reloads under load: failed requests", "", 0, 0),
            ("the same: memory after vs before", "", 1.05, 1.05),
            ("the same: p99 vs undisturbed", "", None, 1.2),
        ],
        (NO_OP,),
        swaps,
    ),
    Fault(
        [
            ("a plugin of 1.6 MB takes traffic, from its upload on, when it is in the cache", "ms", 50, None),
            ("the same, when it has to be compiled", "s", 1.5, None),
            ("the same: p99 meanwhile vs undisturbed", "", 1.5, None),
        ],
        (),
        uploads,
    ),
    Fault(
        [
            ("a plugin that loops: p99 of an innocent route, from its first request on", "", 2, 1.1),
            ("the same, once it has been taken out", "", 2, 1.1),
        ],
        (HOSTILE,),
        looping,
    ),
    Fault([("1 GiB bodies, no body plugin: memory growth", "MiB", 8, 2)], (), bodies(None)),
    Fault([("1 GiB bodies through a `chunks` plugin: memory growth", "MiB", 8, 2)], (CHUNKS,), bodies(CHUNKS)),
]
