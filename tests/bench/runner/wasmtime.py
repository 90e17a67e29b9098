"""`wasmtime serve` of the version that the gateway embeds, on the same component: it too gives each request an instance of
its own, out of a pool, where it is told nothing else."""

from arms import SERVICE, Arm, Site, Tools, answers_itself, needs_tool


def serve(site: Site) -> list[str]:
    # The component asks for the environment, which is a part of `cli`.
    address = ["--addr", f"127.0.0.1:{site.port}"]
    return [str(site.tools.wasmtime), "serve", "-S", "cli", *address, str(site.tools.guest(SERVICE))]


def missing(tools: Tools) -> str | None:
    return needs_tool("wasmtime")(tools) or (None if tools.guest(SERVICE) else f"{SERVICE}.wasm")


ARMS: list[Arm] = [answers_itself("wasmtime serve", serve, missing)]
