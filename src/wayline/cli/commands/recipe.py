"""``wayline recipe show|versions|preview|set|undo``: what the team sets over the recipe that builds find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, day, print_json, print_table, say
from wayline.errors import InputError, shorten

if TYPE_CHECKING:
    from wayline.schema import Feed, RecipeVersion

recipe_app = typer.Typer(
    no_args_is_help=True, help="See, preview, save and undo what feeds are made by."
)
Edits = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=VALUE...",
        help="Names as `wayline recipe show` has them; `NAME=` takes an edit away.",
    ),
]
Author = Annotated[str, typer.Option(help="Who says so, for the others.")]


@recipe_app.command()
def show(
    every: Annotated[bool, typer.Option("--all", help="Weights that are 0 as well.")] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show every setting of a feed that may be edited, and who gave it its value."""
    with opened(workspace) as engine:
        current, found = engine.recipes.current(), engine.dials()
    if as_json:
        print_json({"current": current, "dials": found})
        return
    rows = [
        (d.name, _number(d.value), _number(d.before) if d.value != d.before else "", d.origin, str(d.allowed))
        for d in found
        if every or d.value or d.before or not d.name.startswith("recipe.")
    ]  # fmt: skip
    print_table(_title(current), ("setting", ">value", ">before", "by", "may be"), rows)
    if not every:
        say("Weights that are 0 are left out: --all shows them.")


@recipe_app.command()
def versions(workspace: Workspace = HERE, as_json: AsJson = False) -> None:
    """List all versions ever saved, oldest first."""
    with opened(workspace) as engine:
        found = engine.recipes.versions()
    if as_json:
        print_json({"versions": found})
        return
    rows = [(str(v.version), day(v.created_at), v.author, v.note, _listed(v.edits)) for v in found]
    columns = (">version", "saved", "by", "why", "edits")
    print_table(count(len(rows), "version"), columns, rows)


@recipe_app.command()
def preview(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    edits: Edits,
    limit: Annotated[int, typer.Option(min=1, help="Items of each feed.")] = 10,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show a person's feed as it is, and as it would be with these edits over those in use; nothing is kept."""
    from wayline.schema import Variant

    with opened(workspace) as engine:
        wanted = laid_over(engine.recipes.current().edits, edits)
        before, after = engine.compare_feeds(user_id, Variant(), Variant(edits=wanted), limit=limit)
    if as_json:
        print_json({"before": before, "after": after})
        return
    pairs = zip_longest(_titles(before), _titles(after), fillvalue="")
    rows = [(str(rank), *pair) for rank, pair in enumerate(pairs, 1)]
    print_table(f"Feed of {user_id}", (">", "now", "with these edits"), rows)


@recipe_app.command("set")
def set_(
    edits: Edits,
    note: Annotated[str, typer.Option(help="Why, for the others.")],
    after: Annotated[
        int | None, typer.Option(min=0, help="The version that you looked at; else the newest.")
    ] = None,
    author: Author = "",
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Lay edits over those in use and save that as a new version; it holds from the next feed on."""
    with opened(workspace) as engine:
        current = engine.recipes.current()
        saved = engine.recipes.save(
            laid_over(current.edits, edits),
            note=note,
            after=current.version if after is None else after,
            author=author,
        )
    _print_saved(saved, as_json=as_json)


@recipe_app.command()
def undo(author: Author = "", workspace: Workspace = HERE, as_json: AsJson = False) -> None:
    """Take the newest version back that was not taken back yet."""
    with opened(workspace) as engine:
        saved = engine.recipes.undo(after=engine.recipes.current().version, author=author)
    _print_saved(saved, as_json=as_json)


def laid_over(edits: Mapping[str, float], changes: Sequence[str]) -> dict[str, float]:
    """Give edits with ``NAME=VALUE`` laid over them; without a value the edit goes.

    >>> laid_over({"feed.diversity": 0.4, "feed.fatigue": 2.0}, ["feed.diversity=0.5", "feed.fatigue="])
    {'feed.diversity': 0.5}

    Raises
    ------
    InputError
        If one is not of that form. Names and ranges are checked where edits are saved.
    """
    out = dict(edits)
    for change in changes:
        name, equals, value = change.partition("=")
        try:
            number = float(value) if value else None
        except ValueError:
            equals = ""
        if not equals or not name:
            raise InputError(
                f"Got the edit {shorten(change)}, expected NAME=NUMBER, as in feed.diversity=0.4."
            )
        if number is None:
            out.pop(name, None)
        else:
            out[name] = number
    return out


def _print_saved(saved: RecipeVersion, *, as_json: bool) -> None:
    if as_json:
        print_json(saved)
    else:
        say(f"Saved version {saved.version}: {_listed(saved.edits)}. {saved.note}")


def _title(version: RecipeVersion) -> str:
    if not version.version:
        return "As the build and the settings have it"
    by = f" by {version.author}" if version.author else ""
    return f"Version {version.version}{by}: {version.note}"


def _listed(edits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in edits.items()) or "no edits"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _titles(feed: Feed) -> list[str]:
    return [item.title or item.item_id for item in feed.items]
