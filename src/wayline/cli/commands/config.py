"""``wayline config``: the settings as resolved, and where each came from."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, print_json, print_table


def config(
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those that are not as they are by default.")
    ] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Print every setting, its default, and whether a file or the environment set it; never a secret."""
    with opened(workspace) as engine:
        found = [one for one in engine.settings if one.changed or not changed]
    if as_json:
        print_json({"settings": found})
        return
    rows = [(one.name, one.value, one.default, one.origin) for one in found]
    print_table(count(len(rows), "setting"), ("setting", "value", "default", "from"), rows)
