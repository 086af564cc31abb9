"""``wayline serve``: the REST API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from wayline.cli.commands.build import print_generation
from wayline.cli.options import HERE, AsJson, Workspace
from wayline.cli.output import say
from wayline.cli.progress import building

if TYPE_CHECKING:
    from wayline.engine import Engine


def serve(
    host: Annotated[str | None, typer.Option(help="Else server.host of wayline.toml.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Else server.port; 0 takes a free one.")
    ] = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Serve the REST API; builds by itself the first time."""
    import wayline
    from wayline.server import serve as serve_engine
    from wayline.server.guard import check_binding

    engine = wayline.open(workspace)
    try:
        settings = engine.config.server
        address = settings.host if host is None else host
        check_binding(address, settings, workspace_keys=engine.access.any_live())
        build_first(engine, as_json=as_json)
        engine.share_cores()
    except BaseException:
        engine.close()
        raise

    def on_ready(url: str, _stop: Callable[[], None]) -> None:
        if as_json:
            print(json.dumps({"url": url}), flush=True)  # one line: a program waits for it
            return
        look = f"; to look in: {url}/studio" if engine.config.studio.mode == "on" else ""
        say(f"Serving {engine.path} at {url} (what there is: {url}/docs{look}). Stop with Ctrl-C.")

    serve_engine(engine, host, port, on_ready=on_ready)


def build_first(engine: Engine, *, as_json: bool) -> None:
    """Build where there are actions and nothing has been built; the first request need not wait."""
    stats = engine.stats()
    if stats["generation"] is None and stats["actions"]:
        if not as_json:
            say("Nothing has been built yet: building.")
        with building(shown=not as_json) as progress:
            generation = engine.build(progress=progress)
        if not as_json:
            print_generation(generation)
