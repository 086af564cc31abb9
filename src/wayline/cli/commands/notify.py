"""``wayline notify``: what people would be told now, or telling them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, print_json, print_table, say
from wayline.errors import InputError

if TYPE_CHECKING:
    from wayline.engine import Engine

PEOPLE_SHOWN = 50


def notify(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, and send nothing.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Deliver by the configured way.")] = False,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="USER", help="Only them; may be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the best.")] = None,
    write_templates: Annotated[
        bool, typer.Option("--write-templates", help="Put the texts where you can edit them.")
    ] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Tell people about their journeys; exit code 1 if something was not delivered."""
    if [dry_run, send, write_templates].count(True) != 1:
        raise InputError(
            "Got none or several of --dry-run, --send and --write-templates, expected one: --dry-run shows what "
            "--send would do."
        )
    with opened(workspace) as engine:
        if write_templates:
            _write(engine, as_json=as_json)
        elif dry_run:
            _show(engine, user, limit, as_json=as_json)
        else:
            _send(engine, user, limit, as_json=as_json)


def _write(engine: Engine, *, as_json: bool) -> None:
    from wayline.notifications.copy import write_templates

    folder = engine.notifying().templates
    written = [str(path) for path in write_templates(folder)]
    if as_json:
        print_json({"templates": str(folder), "written": written})
    else:
        say(f"The templates are in {folder}; {count(len(written), 'file')} written.")


def _show(engine: Engine, user: list[str] | None, limit: int | None, *, as_json: bool) -> None:
    from wayline.notifications.eligibility import REASONS

    notifying = engine.notifying()
    plan = notifying.plan(user or None, limit=limit)
    records = [p.record(notifying.config.notifications.channel) for p in plan.planned]
    if as_json:
        print_json(
            {
                "notifications": records,
                "left_out": plan.left_out,
                "reasons": plan.reasons(),
                "unknown_zones": plan.unknown_zones,
            }
        )
        return
    rows = [
        (n.user_id, n.journey, n.title, ", ".join(n.items), f"{n.score:.3f}")
        for n in records[:PEOPLE_SHOWN]
    ]
    print_table(
        f"{count(len(records), 'notification')} would be sent by {notifying.config.notifications.channel}",
        ("user", "journey", "title", "items", ">score"),
        rows,
    )
    if len(records) > PEOPLE_SHOWN:
        say(f"and {count(len(records) - PEOPLE_SHOWN, 'more notification')}")
    for record in records[:1]:
        say(f"\nThe text for {record.user_id}:\n{record.text}\n")
    for reason, number in plan.reasons().items():
        say(f"{count(number, 'user')}: {REASONS[reason]}")
    if plan.unknown_zones:
        zone = notifying.config.notifications.timezone
        people = count(plan.unknown_zones, "user")
        say(f"{people}: gave a time zone that there is not, {zone} stands in for it")
    if user:
        for one in plan.left_out:
            about = f" ({one.journey})" if one.journey else ""
            say(f"{one.user_id}: {REASONS[one.reason]}{about}")


def _send(engine: Engine, user: list[str] | None, limit: int | None, *, as_json: bool) -> None:
    done = engine.notify(user or None, limit=limit)
    if as_json:
        print_json(done)
    else:
        say(_summary(done))
        for problem, number in done.problems.items():
            say(f"{count(number, 'time')}: {problem}")
    if done.failed or done.waiting:
        raise typer.Exit(1)


def _summary(done: Any) -> str:
    left_out = sum(done.left_out.values())
    return (
        f"{count(done.queued, 'notification')} planned, {count(left_out, 'user')} left out; "
        f"{done.sent:,} sent, {done.failed:,} failed, {done.waiting:,} waiting for a later run."
    )
