"""The table, in Markdown. Losing rows stay in it, and rows that could not run say why."""

from dataclasses import dataclass
from statistics import median

from figures import Figure, figure


@dataclass(frozen=True)
class Line:
    what: str
    bar: float | None
    aim: float | None
    unit: str
    # None where it could not run; `note` then says why.
    figure: Figure | None
    note: str = ""

    def verdict(self) -> str:
        if self.figure is None:
            return "not run"
        if self.bar is None and self.aim is None:
            return "–"
        # A bar inside the interval is a bar the next run may fall on the other side of.
        near = lambda bound: " (within the noise)" if self.figure.low <= bound <= self.figure.high else ""
        if self.aim is not None and self.figure.value <= self.aim:
            return f"aim{near(self.aim)}"
        if self.bar is None:
            return f"above the aim{near(self.aim)}"
        if self.figure.value <= self.bar:
            return f"holds{near(self.bar)}"
        return f"**LOSES**{near(self.bar)}"


def table(lines: list[Line]) -> str:
    names = ["what", "at least", "aim", "measured", "95 % interval", "verdict", "note"]
    head = [f"| {' | '.join(names)} |", f"| {' | '.join('---' for _ in names)} |"]
    return "\n".join([*head, *(_row(line) for line in lines)])


def orientation(rounds: list[dict[str, float]]) -> str:
    """CPU per request of every arm on this machine. Nothing is claimed from it: other machines differ."""
    head = "| arm | CPU µs per request, here | 95 % interval |\n| --- | --- | --- |"
    arms = sorted(rounds[0], key=lambda arm: median(cpu[arm] for cpu in rounds))
    rows = [(arm, figure([cpu[arm] for cpu in rounds])) for arm in arms]
    return "\n".join([head, *(f"| {arm} | {f.value:.1f} | {f.low:.1f} – {f.high:.1f} |" for arm, f in rows)])


def _row(line: Line) -> str:
    cells = [line.what, _bound(line.bar, line.unit), _bound(line.aim, line.unit)]
    if line.figure is None:
        cells += ["–", "–"]
    else:
        cells += [_number(line.figure.value, line.unit), f"{_number(line.figure.low)} – {_number(line.figure.high)}"]
    return f"| {' | '.join([*cells, line.verdict(), line.note])} |"


def _bound(bound: float | None, unit: str) -> str:
    return "–" if bound is None else f"≤ {bound:g} {unit}".rstrip()


def _number(value: float, unit: str = "") -> str:
    return f"{value:.3g} {unit}".rstrip() if abs(value) < 100 else f"{value:.0f} {unit}".rstrip()
