"""`make bench`: the gateway against its floors and its peers, as ratios of one run.

    python3 tests/bench/runner [--quick] [--only TEXT] [--target-dir DIR] [--envoy FILE] [--guests DIR]

Prints the table and writes every measurement as a JSON line under the target directory. Ends with 1 where a row
loses, so that a script can tell; the row is printed all the same.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import envoy
import faults
import floors
import gateway
import haproxy
import idle
import languages
import latency
import nginx
import wasmtime
from arms import Tools
from figures import figure
from measure import FULL, QUICK, Raw, cpu_rounds, runnable
from processes import CORES, LOAD_CORE, Failed
from report import Line, orientation, table
from rows import ROWS

ARMS = [*gateway.ARMS, *nginx.ARMS, *haproxy.ARMS, *envoy.ARMS, *wasmtime.ARMS, *floors.ARMS]
BENCH = Path(__file__).resolve().parent.parent


def main() -> int:
    options = _options()
    os.sched_setaffinity(0, {LOAD_CORE})
    # Both ways of being stopped leave the `with` blocks, which end the children and remove the folders.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pace = QUICK if options.quick else FULL
    output = options.target_dir / "bench"
    output.mkdir(parents=True, exist_ok=True)
    tools = _tools(options, output)
    raw_path = output / time.strftime("raw-%Y%m%d-%H%M%S.jsonl")
    with raw_path.open("w") as file:
        raw = Raw(file)
        raw.write(kind="machine", cores=len(CORES), processor=_processor(), kernel=platform.release())
        rounds = _cpu(options, pace, tools, raw)
        lines = _cpu_lines(rounds, options.only)
        lines += idle.lines(options.only, pace, tools, raw, _say)
        lines += latency.lines(options.only, pace, tools, raw, _say)
        lines += faults.lines(options.only, pace, tools, raw, _say)
        lines += languages.lines(options.only, pace, tools, raw, _say)
    _say("", keep=True)
    print(
        f"{_processor()}, {len(CORES)} cores, Linux {platform.release()}; {pace.rounds} rounds of {pace.seconds:g} s\n"
    )
    print(table(lines))
    if rounds and rounds[0]:
        print(f"\n{orientation(rounds)}")
    print(f"\nRaw lines: {raw_path}")
    return 1 if any("LOSES" in line.verdict() for line in lines) else 0


def _cpu(options: argparse.Namespace, pace, tools: Tools, raw: Raw) -> list[dict[str, float]]:
    wanted = {arm for row in ROWS if options.only in row.what for arm in row.needs}
    everything = not options.only
    arms = [arm for arm in ARMS if everything or arm.name in wanted]
    arms = runnable(arms, tools, _say)
    return cpu_rounds(arms, pace, tools, raw, _say) if arms else []


def _cpu_lines(rounds: list[dict[str, float]], only: str) -> list[Line]:
    lines = []
    measured = set(rounds[0]) if rounds else set()
    for row in ROWS:
        if only not in row.what:
            continue
        missing = [arm for arm in row.needs if arm not in measured]
        if missing:
            lines.append(Line(row.what, row.bar, row.aim, row.unit, None, f"no {', no '.join(missing)}"))
        else:
            lines.append(
                Line(row.what, row.bar, row.aim, row.unit, figure(row.values(rounds)), row.note(rounds))
            )
    return lines


def _tools(options: argparse.Namespace, output: Path) -> Tools:
    built = options.target_dir / "dist"
    found = lambda path: path if path and path.exists() else None
    no_op_filter = output / "no-op-filter.wasm"
    if found(built / "wat2wasm"):
        subprocess.run([built / "wat2wasm", BENCH / "proxy-wasm/no-op.wat", no_op_filter], check=True)
    return Tools(
        gateway=found(options.gateway or built / "gatewright"),
        floor=found(built / "floor"),
        envoy=found(options.envoy or output / "envoy/envoy/_bin/envoy"),
        no_op_filter=found(no_op_filter),
        wasmtime=found(options.wasmtime or output / "wasmtime/bin/wasmtime"),
        guests=found(options.guests or options.target_dir / "guests/wasm32-wasip2/plugin"),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three short rounds: a look, not a result")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows that have this text in their name")
    default = os.environ.get("CARGO_TARGET_DIR") or BENCH.parent.parent / "target"
    parser.add_argument("--target-dir", type=Path, default=Path(default), help="where Cargo builds to")
    parser.add_argument("--gateway", type=Path, help="the gateway's binary (default: dist/gatewright there)")
    parser.add_argument("--envoy", type=Path, help="Envoy's binary (default: where install.sh puts it)")
    parser.add_argument("--wasmtime", type=Path, help="wasmtime's binary (default: where install.sh puts it)")
    parser.add_argument("--guests", type=Path, help="the folder of guest_noop.wasm, guest_service.wasm and so on")
    options = parser.parse_args()
    options.target_dir = options.target_dir.resolve()
    return options


def _processor() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _say(text: str, keep: bool = False) -> None:
    """Progress on the terminal's error stream: a line that the next one replaces, unless it is to be kept."""
    if keep or sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}" + ("\n" if keep and text else ""))
        sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"\nbench: {failure}")
    except KeyboardInterrupt:
        sys.exit("\nbench: interrupted")
