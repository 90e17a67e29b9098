"""What a plugin costs in each language: one that does nothing, and the policy of `tests/policies`, which is the same in all.

Each is built as its author would build it, by `gatewright plugin`, and measured by `gatewright plugin bench`: in the real
engine, with upstreams that answer at once, so that what is measured is the plugin and the way into it.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from arms import Tools
from figures import figure
from measure import Pace, Raw
from processes import ALL_CORES, Failed
from report import Line

POLICIES = Path(__file__).resolve().parents[2] / "policies"


@dataclass(frozen=True)
class Language:
    name: str
    # Microseconds: the bars, and what is aimed at.
    no_op: float
    no_op_aim: float | None
    policy: float
    policy_aim: float | None


LANGUAGES = [
    Language("rust", 0.5, None, 1.5, None),
    Language("c", 0.5, None, 1.5, None),
    Language("go", 5, 3, 10, 5),
    Language("js", 5, 3, 10, 5),
    Language("ts", 5, 3, 10, 5),
    Language("python", 5, 3, 10, 5),
]


def lines(only: str, pace: Pace, tools: Tools, raw: Raw, say) -> list[Line]:
    return [
        line(what, bar, aim, language.name, folder, cases, case, pace, tools, raw, say)
        for language in LANGUAGES
        for what, bar, aim, folder, cases, case in rows(language)
        if only in what
    ]


def rows(language: Language):
    """The rows of a language: name, bar, aim, the plugin's sources, the cases, and the one that is measured."""
    no_op, name = POLICIES / "no-op", language.name
    cases = no_op / "cases.json"
    yield f"plugin in {name} that does nothing, shared", language.no_op, language.no_op_aim, no_op / name, cases, "nothing"
    case = "a key becomes a caller with a tier"
    policy = POLICIES / name, POLICIES / "cases.json", case
    yield f"the shared policy in {name}, shared", language.policy, language.policy_aim, *policy


def line(what, bar, aim, language, sources, cases, case, pace: Pace, tools: Tools, raw: Raw, say) -> Line:
    if not tools.gateway:
        return Line(what, bar, aim, "µs", None, "no gateway")
    say(f"builds: {what}")
    try:
        component = build(language, sources, tools)
    except Failed as failure:
        return Line(what, bar, aim, "µs", None, str(failure).splitlines()[-1])
    rounds = []
    for number in range(pace.fault_rounds):
        say(f"round {number + 1} of {pace.fault_rounds}: {what}")
        arguments = ["bench", "--json", "--time", str(int(pace.seconds * 300)), "--component", component, "--only", case, cases]
        measured = json.loads(gatewright(tools, component.parent, *arguments))
        raw.write(kind="language", what=what, **measured)
        if measured["cases"][0]["answered"]:
            raise Failed(f"{what}: the plugin refuses what it is meant to let pass")
        rounds.append(measured)
    return Line(what, bar, aim, "µs", figure([found["cases"][0]["request_ns"] / 1e3 for found in rounds]), note(rounds))


def note(rounds: list[dict]) -> str:
    middle = lambda value: figure([value(found) for found in rounds]).value
    return (
        f"{rounds[0]['size_bytes'] / 1000:.0f} kB; compiled in {middle(lambda found: found['compiled_ns']) / 1e6:.0f} ms, "
        f"from the cache in {middle(lambda found: found['cached_ns']) / 1e6:.1f} ms; "
        f"isolation request {middle(lambda found: found['cases'][0]['fresh_ns']) / 1e3:.1f} µs; "
        f"{middle(lambda found: found['memory_bytes']) / 1000:.0f} kB for each instance"
    )


def build(language: str, sources: Path, tools: Tools) -> Path:
    """The component of a project that has these sources; what package managers install stays for the next run."""
    home = Path.home() / ".cache/gatewright/tools/bench" / language
    project = home.with_name(f"{language}.new")
    shutil.rmtree(project, ignore_errors=True)
    project.parent.mkdir(parents=True, exist_ok=True)
    gatewright(tools, home.parent, "new", "--lang", language, "plugin", "--path", project)
    for installed in (".gatewright", "node_modules"):
        if (home / installed).is_dir():
            (home / installed).rename(project / installed)
    shutil.rmtree(home, ignore_errors=True)
    project.rename(home)
    shutil.copytree(sources, home, dirs_exist_ok=True)
    gatewright(tools, home, "build")
    return home / "build/plugin.wasm"


def gatewright(tools: Tools, folder: Path, *arguments) -> str:
    command = [tools.gateway.resolve(), "plugin", *arguments]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(Path.home() / ".cache/gatewright/tools/bench/rust-target")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, ALL_CORES),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"gatewright plugin {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
