"""``wayline init``: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wayline.cli.options import AsJson
from wayline.cli.output import print_json, say
from wayline.errors import InputError


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if absent.")],
    as_json: AsJson = False,
) -> None:
    """Make a workspace: a commented wayline.toml and data/."""
    import wayline

    if (directory / "wayline.toml").exists() or (directory / "data").is_dir():
        raise InputError(
            f"{directory} is a workspace already: use it with -w {directory}, or name another."
        )
    wayline.open(directory, create=True).close()
    if as_json:
        print_json({"workspace": str(directory)})
        return
    say(f"Made the workspace {directory}.")
    say(f"Say what actions are worth in {directory / 'wayline.toml'}, then:")
    say(f"  wayline import actions.csv -w {directory}")
