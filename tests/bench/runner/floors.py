"""The floors: what a proxy of each kind costs at the least. They are `src/bin/floor`."""

from collections.abc import Callable

from arms import Arm, Site, needs_tool


def floor(kind: str) -> Callable[[Site], list[str]]:
    def prepare(site: Site) -> list[str]:
        return [
            str(site.tools.floor),
            kind,
            "--listen",
            f"127.0.0.1:{site.port}",
            "--upstream",
            f"127.0.0.1:{site.upstream}",
        ]

    return prepare


ARMS = [Arm(kind, floor(kind), needs_tool("floor")) for kind in ("f0", "f1", "f2")]
