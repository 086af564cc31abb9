"""The journeys of people, printed as they are: five people of each set, chosen by how much they did.

    python benchmarks/journeys.py [--set online-retail] [--write docs/journey-examples.md]

Builds a workspace of each set (the packaged shop; the others are read from ../shared/data and skipped by name where
they are absent) and prints the ten best journeys of five people at the end of its log. Nobody is picked by hand: they
stand at fixed shares of the people ordered by their number of actions (films: by their days of activity).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

import wayline
from wayline.datasets import online_retail

SHARED = Path(__file__).parents[2] / "shared" / "data"
SETS = {
    "online-retail": ({"buy": 1.0, "return": -1.0}, (0.5, 0.8, 0.95, 0.99, 1.0), "actions"),
    "movielens-small": (
        {"like": 1.0, "dislike": -1.0, "view": 0.2, "tag": 0.5},
        (0.992, 0.994, 0.996, 0.998, 1.0),
        "days",
    ),
    "slackbuilds": (
        {"update": 1.0, "add": 1.0, "fix": 0.5, "other": 0.3, "metadata": 0.2, "remove": 0.0},
        (0.8, 0.9, 0.97, 0.99, 1.0),
        "actions",
    ),
}
ITEMS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", action="append", choices=list(SETS))
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    lines = [
        "# Journeys of people",
        "",
        "Printed as they are, good and bad, by `python benchmarks/journeys.py --write docs/journey-examples.md`:",
        "the ten best journeys of five people of each set, at the end of its log. Nobody was picked by hand: they",
        "stand at fixed shares of the people, ordered by how much they did. No language model had a part in it.",
        "",
    ]
    for name in args.set or SETS:
        for line in examples(name):
            lines.append(line)
            print(line, flush=True)
    if args.write:
        args.write.write_text("\n".join(lines).rstrip() + "\n", "utf-8")


def examples(name: str) -> Iterator[str]:
    """Give the lines of one set."""
    worths, shares, order = SETS[name]
    folder = SHARED / name
    if name != "online-retail" and not folder.is_dir():
        yield f"{name}: {folder} is absent, skipped."
        return
    with tempfile.TemporaryDirectory() as tmp:
        config = {"actions": worths, "time": {"clock": "log"}}
        with wayline.open(Path(tmp) / "w", create=True, config=config) as engine:
            if name == "online-retail":
                data = online_retail()
                items, actions = pl.read_parquet(data.items), pl.read_parquet(data.actions)
            else:
                items = pl.read_parquet(folder / "items.parquet")
                actions = pl.read_parquet(folder / "actions.parquet")
            engine.add_items(items)
            engine.add_actions(actions)
            began = time.perf_counter()
            generation = engine.build()
            report = generation.metrics["journeys"]
            yield f"## {name}"
            yield ""
            yield (
                f"{report['journeys']:,} journeys of {report['people_with_journeys']:,} people, "
                f"{report['keywords']:,} keywords; {report['people_per_s']:,.0f} people/s "
                f"(the whole build took {time.perf_counter() - began:.0f} s)."
            )
            yield ""
            for user_id in people(actions, worths, shares, order):
                yield from person(engine, user_id)


def people(
    actions: pl.DataFrame, worths: dict[str, float], shares: tuple[float, ...], order: str
) -> list[str]:
    """Choose people at fixed shares of all, by what they did."""
    wanted = actions.filter(
        pl.col("action").is_in([name for name, worth in worths.items() if worth > 0])
    )
    figure = pl.len() if order == "actions" else (pl.col("ts") // 86_400_000).n_unique()
    counts = wanted.group_by("user_id").agg(n=figure).sort("n", "user_id")
    rows = np.floor(np.array(shares) * (counts.height - 1)).astype(int)
    return counts["user_id"].gather(rows).to_list()


def person(engine: wayline.Engine, user_id: str) -> Iterator[str]:
    """Give the lines of one person."""
    actions = engine.actions(user_id, limit=1_000_000)
    yield f"### {user_id}: {len(actions):,} actions, {day(actions[-1].ts)} to {day(actions[0].ts)}"
    yield ""
    found = engine.journeys(user_id)
    if not found:
        yield "On no journey."
        yield ""
        return
    yield "| journey | stage | sure | actions | since | last | items | see also |"
    yield "|---|---|---:|---:|---|---|---|---|"
    for one in found:
        stage = "evergreen" if one.evergreen else one.stage
        titles = "; ".join(cell(e.title or e.item_id) for e in one.evidence[:ITEMS])
        more = f" and {len(one.evidence) - ITEMS} more" if len(one.evidence) > ITEMS else ""
        yield (
            f"| **{cell(one.name)}** | {stage} | {one.confidence:.0%} | {one.actions:,} | {day(one.first_at)} | "
            f"{day(one.last_at)} | {titles}{more} | {', '.join(cell(name) for name in one.related)} |"
        )
    yield ""


def day(ts_ms: int) -> str:
    return str(np.datetime64(ts_ms, "ms"))[:10]


def cell(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")


if __name__ == "__main__":
    main()
