"""``wayline import``: files into the log or the catalogue."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import to_json

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, note, print_json, say
from wayline.cli.progress import importing
from wayline.errors import InputError
from wayline.schema import Receipt, Rejection

if TYPE_CHECKING:
    from wayline.engine import Engine
    from wayline.intake.columns import ColumnMap

REASONS_SHOWN = 5
NAMES_SHOWN = 10
ITEM_WORDS = {"item", "items", "product", "products", "catalog", "catalogue", "movies", "articles"}


class Kind(StrEnum):
    """What the rows of a file are."""

    actions = "actions"
    items = "items"


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Parquet, CSV/TSV or JSONL; gz too."),
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="Guessed from name and columns if not given.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="ROLE=COLUMN", help="Such as user_id=CustomerID."),
    ] = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Import actions or items; importing a file again adds nothing."""
    mapping = parse_mapping(column or [])
    reports = []
    with opened(workspace) as engine:
        for file in files:
            what = kind or guess_kind(file, mapping)
            receipt, columns = _import_one(engine, file, what, mapping, shown=not as_json)
            rejects = _write_rejects(engine.path, file, receipt.rejected)
            reports.append(_report(file, what, columns, receipt, rejects))
            if not as_json:
                _print_report(reports[-1], receipt)
        unknown = engine.unknown_actions()
    if as_json:
        print_json({"files": reports, "actions_without_worth": unknown})
    elif unknown:
        note(f"note: worth 0, since [actions] of wayline.toml does not name them: {_list(unknown)}")
    if any(_found_problems(report) for report in reports):
        raise typer.Exit(1)


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``--map`` options.

    >>> parse_mapping(["user_id=CustomerID"])
    {'user_id': 'CustomerID'}
    """
    mapping = {}
    for pair in pairs:
        role, equals, name = pair.partition("=")
        if not (equals and role.strip()):
            raise InputError(
                f"Got --map {pair!r}, expected ROLE=COLUMN: write --map user_id=CustomerID.",
                field="map",
            )
        mapping[role.strip()] = name.strip()
    return mapping


def guess_kind(file: Path, mapping: dict[str, str]) -> Kind:
    """Tell actions from items by the file's name, then by its columns.

    A file of items may hold a maker and a time too (videos with uploader and date), which makes the
    name the better witness where it speaks.
    """
    words = set(re.split(r"[^a-z]+", file.name.lower()))
    if "user_id" not in mapping and words & ITEM_WORDS:
        return Kind.items
    from wayline.errors import UnknownColumnsError
    from wayline.intake.columns import guess_columns

    names = _column_names(file)
    try:
        guess_columns(names, kind="actions", mapping=mapping, label=file.name)
    except UnknownColumnsError as no_actions:
        try:
            if _names_a_person(names, mapping):
                raise
            guess_columns(names, kind="items", mapping=mapping, label=file.name)
        except UnknownColumnsError:
            raise no_actions from None
        return Kind.items
    return Kind.actions


def _names_a_person(names: Sequence[str], mapping: dict[str, str]) -> bool:
    """Actions whose time has an odd name must not become items without a word."""
    from wayline.intake.columns import guess_columns

    ours = {role: name for role, name in mapping.items() if role in ("user_id", "item_id")}
    found = guess_columns(names, kind="actions", mapping=ours, needed=False)
    return "user_id" in found.columns


def _import_one(
    engine: Engine, file: Path, kind: Kind, mapping: dict[str, str], *, shown: bool
) -> tuple[Receipt, str]:
    """Import a file; gives its receipt and the line that says which column was what."""
    columns = ""
    with importing(file.name, shown=shown) as update:

        def on_chunk(receipt: Receipt, column_map: ColumnMap) -> None:
            nonlocal columns
            columns = str(column_map)
            update(receipt)

        if kind is Kind.actions:
            receipt = engine.add_actions(file, mapping=mapping, on_chunk=on_chunk)
        else:
            columns = str(_item_columns(file, mapping))
            receipt = engine.add_items(file, mapping=mapping)
    return receipt, columns


def _item_columns(file: Path, mapping: dict[str, str]) -> ColumnMap:
    from wayline.intake.columns import guess_columns

    return guess_columns(_column_names(file), kind="items", mapping=mapping, label=file.name)


def _column_names(file: Path) -> Sequence[str]:
    from wayline.intake.sources import open_source

    return open_source(file, rows_per_chunk=1_000).names


def _write_rejects(workspace: Path, file: Path, rejected: Sequence[Rejection]) -> Path | None:
    """Write every refused row's place and reason to a file of the workspace."""
    if not rejected:
        return None
    path = workspace / "data" / f"rejects-{time.strftime('%Y%m%dT%H%M%S')}-{file.stem}.jsonl"
    with path.open("wb") as out:
        for rejection in rejected:
            out.write(to_json(rejection) + b"\n")
    return path


def _report(
    file: Path, kind: Kind, columns: str, receipt: Receipt, rejects: Path | None
) -> dict[str, Any]:
    return {
        "file": str(file),
        "kind": kind.value,
        "columns": columns,
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "rejected": len(receipt.rejected),
        "torn": any(rejection.field == "file" for rejection in receipt.rejected),
        "reasons": receipt.rejected[:REASONS_SHOWN],
        "rejects_file": None if rejects is None else str(rejects),
        "warnings": receipt.warnings,
    }


def _print_report(report: dict[str, Any], receipt: Receipt) -> None:
    say(f"{report['file']} ({report['kind']})")
    if report["columns"]:
        say(f"  columns: {report['columns']}")
    say(
        f"  accepted {receipt.accepted:,}, duplicates {receipt.duplicates:,}, "
        f"rejected {len(receipt.rejected):,}"
    )
    for rejection in report["reasons"]:
        say(f"  row {rejection.index:,}, {rejection.field}: {rejection.reason}")
    if report["rejects_file"]:
        say(f"  all {count(len(receipt.rejected), 'refused row')}: {report['rejects_file']}")
    for warning in receipt.warnings:
        note(f"  note: {warning}")


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _found_problems(report: dict[str, Any]) -> bool:
    """Nothing in the file could be used, or the file ended before its end."""
    unused = report["rejected"] and not report["accepted"] + report["duplicates"]
    return bool(unused or report["torn"])
