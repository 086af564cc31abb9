"""``wayline bench``: run a benchmark of the source tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import wayline
from wayline.cli.options import AsJson
from wayline.cli.output import print_json, say
from wayline.errors import InputError

GROUPS = {
    "ingest": ("ingest", "http_ingest"),  # one name, two ways in
    "score-v2": ("score_v2",),
    "select": ("selection",),  # a script select.py would stand before Python's own module
}


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Listed if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a benchmark, side by side with what it is measured against; options go to it."""
    folder = find_folder(Path(wayline.__file__).parents[2])
    names = sorted(path.stem for path in folder.glob("[!_]*.py"))
    if name is None:
        if as_json:
            print_json({"benchmarks": names})
        else:
            say("\n".join(names))
        return
    scripts = [folder / f"{stem}.py" for stem in GROUPS.get(name, (name,)) if stem in names]
    if not scripts:
        raise InputError(
            f"There is no benchmark {name!r}: expected one of {', '.join(names)}.", field="NAME"
        )
    options = [*context.args, *(["--json"] if as_json else [])]
    runs = [
        subprocess.run([sys.executable, str(script), *options], check=False) for script in scripts
    ]
    if any(run.returncode for run in runs):
        raise typer.Exit(1)


def find_folder(root: Path) -> Path:
    """The source tree's benchmarks; an installed package has none."""
    folder = root / "benchmarks"
    if not (folder.is_dir() and (root / "pyproject.toml").exists()):
        raise InputError(
            "Benchmarks are not part of the installed package: run this in a checkout of wayline, "
            "installed with pip install -e ."
        )
    return folder
