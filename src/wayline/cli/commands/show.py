"""``wayline show user|item|journeys``: what is known about one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, At, Workspace, opened, time_of
from wayline.cli.output import day, print_json, print_table, say
from wayline.cli.views import (
    no_journeys,
    print_actions,
    print_interests,
    print_journeys,
    print_sequences,
)

show_app = typer.Typer(no_args_is_help=True, help="Show a user, an item, or a user's journeys.")


@show_app.command()
def user(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    limit: Annotated[int, typer.Option(min=1, help="Interests and actions to show.")] = 10,
    *,
    history: Annotated[
        bool, typer.Option("--history", help="The sequences that models read, instead.")
    ] = False,
    at: At = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show a person's interests and newest actions."""
    at_ms = time_of(at)
    with opened(workspace) as engine:
        if history:
            sequences = engine.sequences(user_id, at=at_ms)
            if as_json:
                print_json({"user_id": user_id, "sequences": sequences})
            else:
                print_sequences(engine, user_id, sequences, most=limit)
            return
        interests = engine.interests(user_id, at=at_ms)
        actions = engine.actions(user_id, limit=limit, at=at_ms)
        if as_json:
            print_json({"user_id": user_id, "interests": interests, "actions": actions})
        elif not actions:
            say(f"There are no actions of {user_id}: a feed for them shows what is trending.")
        else:
            print_interests(engine, user_id, interests, most=limit)
            print_actions(engine, user_id, actions)


@show_app.command()
def journeys(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    limit: Annotated[int | None, typer.Option(min=1, help="Else journeys.limit.")] = None,
    *,
    at: At = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show what a person is on: their journeys, named and staged, with what they rest on."""
    at_ms = time_of(at)
    with opened(workspace) as engine:
        found = engine.journeys(user_id, at=at_ms, limit=limit)
        acted = bool(engine.actions(user_id, limit=1, at=at_ms))
        if as_json:
            print_json({"user_id": user_id, "journeys": found})
        elif found:
            print_journeys(user_id, found)
        else:
            say(no_journeys(engine, user_id, acted=acted))


@show_app.command()
def item(
    item_id: Annotated[str, typer.Argument(metavar="ITEM")],
    limit: Annotated[int, typer.Option(min=1, help="Similar items to show.")] = 10,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show an item and what is like it."""
    with opened(workspace) as engine:
        record = engine.item(item_id)
        similar = engine.similar(item_id, limit=limit)
    if as_json:
        print_json({"item": record, "similar": similar})
        return
    fields = [
        ("item_id", record.item_id),
        ("title", record.title or "none: import items to give it one"),
        ("category", record.category),
        ("tags", ", ".join(record.tags)),
        ("created", day(record.created_at)),
        ("hidden", "yes" if record.hidden else ""),
        *((name, str(value)) for name, value in record.attributes.items()),
    ]
    print_table(f"Item {item_id}", ("field", "value"), [(n, v) for n, v in fields if v])
    print_table(
        "Similar items",
        ("item", "title", ">score"),
        [(one.item_id, one.title or "", f"{one.score:.3f}") for one in similar],
    )
