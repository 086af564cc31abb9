"""``wayline explain feed``: the whole decision behind one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import day, print_json, print_table, say

explain_app = typer.Typer(no_args_is_help=True, help="Explain an answer.")
PARTS_SHOWN = 3


@explain_app.command()
def feed(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID")],
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show why a feed was what it was, and what came of it."""
    with opened(workspace) as engine:
        found = engine.explain(request_id)
    if as_json:
        print_json(found)
        return
    trace = found["trace"]
    say(
        f"Feed {request_id} of {found['user_id']}, {day(found['ts'])} UTC, "
        f"{found['surface'] or 'no surface'}, generation {found['generation']}, "
        f"regime {trace.get('regime', '?')}."
    )
    _print_interests(found["interests"])
    _print_stages(trace)
    _print_items(found["impressions"])


def _print_interests(interests: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            one["id"],
            one["title"],
            "yes" if one["drawn"] else "",
            f"{one['chance']:.0%}",
            f"{one['impressions']:.1f}",
            f"{one['engagements']:.1f}",
            f"{one['factor']:.2f}",
        )
        for one in interests
    ]
    columns = ("interest", "around", "drawn", ">chance", ">shown", ">answered", ">odds")
    print_table("Interests behind it", columns, rows)


def _print_stages(trace: Mapping[str, Any]) -> None:
    fetched = ", ".join(f"{name} {n}" for name, n in trace.get("fetched", {}).items())
    dropped = ", ".join(f"{name} {n}" for name, n in trace.get("dropped", {}).items())
    say(f"Candidates: {fetched or 'none'}. Removed: {dropped or 'none'}.")
    spent = ", ".join(f"{name} {ms:.1f}" for name, ms in trace.get("stage_ms", {}).items())
    say(f"Milliseconds: {spent}.")
    for stage in trace.get("degraded", ()):
        say(f"{stage} did not answer; the feed was made without it.")


def _print_items(impressions: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            str(one["position"] + 1),
            one["title"],
            f"{one['score']:.2f}",
            _parts(one["parts"]),
            ", ".join(one["sources"]),
            ", ".join(one["interests"]),
            ", ".join(one["actions"]),
        )
        for one in impressions
    ]
    columns = (">", "item", ">score", "made of", "fetched by", "interests", "answered with")
    print_table("Shown", columns, rows)


def _parts(parts: Mapping[str, float]) -> str:
    """The largest parts of a score, by size."""
    largest = sorted(parts.items(), key=lambda part: -abs(part[1]))[:PARTS_SHOWN]
    return ", ".join(f"{name} {value:+.2f}" for name, value in largest)
