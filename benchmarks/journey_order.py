"""What does the discount for journeys like those above do, counted once or anew while the list is made?

    python benchmarks/journey_order.py [--at 2011-06-01 --at 2011-08-01] [--users 150] [--set FOLDER]

The publication discounts a journey's score by .95 for every similar one above it, and leaves open whether "above" means
the order of the plain scores (one-shot) or of the list so far (greedy). Each orders the same journeys of the same
people; what counts is the share of the next four weeks' actions on what the first k claim (docs/journeys.md), and how
different the first k are. The packaged shop, or a folder with items.parquet and actions.parquet.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.cli.journey_trial import Protocol, _Trial
from wayline.clock import to_ts_ms
from wayline.datasets import online_retail
from wayline.evaluation.intervals import bootstrap, paired_difference
from wayline.evaluation.journey_lists import claim_in_turn, covered
from wayline.evaluation.journey_quality import distinctness
from wayline.journeys.ranking import diversify, features_of

RESULTS = Path(__file__).parent / "results" / "journey_order.json"
PLAIN, ONE_SHOT, GREEDY = "plain scores", "one-shot", "greedy"
STRONGER = 0.8  # than the published .95: shows whether the two ways can differ at all


def workspace(folder: Path, source: Path | None) -> wayline.Engine:
    """Read a log into a workspace that may show again what people have."""
    if source is None:
        data = online_retail()
        items, actions, worths = (
            pl.read_parquet(data.items),
            pl.read_parquet(data.actions),
            data.config["actions"],
        )
    else:
        items, actions = (
            pl.read_parquet(source / f"{name}.parquet") for name in ("items", "actions")
        )
        worths = dict.fromkeys(actions["action"].unique().sort().to_list(), 1.0)
    config: dict[str, Any] = {
        "actions": worths,
        "feed": {"repeat": "allow"},
        "time": {"clock": "log"},
    }
    engine = wayline.open(folder, create=True, config=config)
    engine.add_items(items)
    engine.add_actions(actions.sort("ts"))
    return engine


def orders_of(journeys: list[Any], ranker: Any, at_ts_ms: int) -> dict[str, list[int]]:
    """Order a person's journeys in every way."""
    found = [one.found for one in journeys]
    score = ranker.score(features_of(found, at_ts_ms))
    centres = np.stack([one.centre for one in found])
    out = {PLAIN: sorted(range(len(found)), key=lambda q: (-score[q], q))}
    for penalty, tail in ((0.95, ""), (STRONGER, f", {STRONGER}")):
        for name, greedy in ((ONE_SHOT, False), (GREEDY, True)):
            out[name + tail] = diversify(score, centres, penalty=penalty, greedy=greedy)[0]
    return out


def measure(
    engine: wayline.Engine, until: int, people: int, ks: tuple[int, ...]
) -> dict[str, list[list[float]]]:
    """Give, by way of ordering, a row a person: coverage and distinctness at each k, and whether the order changed."""
    engine.build(until=until)
    trial = _Trial(engine, until, Protocol((until,), people=people, ks=ks))
    served = engine._serving.generation()
    assert served.journeys is not None
    rows: dict[str, list[list[float]]] = {}
    for user in trial.people:
        key = engine.store.user_key(user) or 0
        sequence, _ = engine._serving.sequence(served, key, until)
        journeys = served.find_journeys(key, user, sequence, until)
        if len(journeys) < 2:
            continue
        future = trial.item_idx[(trial.user_key == key) & trial.later]
        centres = np.stack([one.found.centre for one in journeys])
        orders = orders_of(journeys, served.journeys.task.ranker, until)
        wanted = {q for order in orders.values() for q in order[: max(ks)]}
        feeds = {
            q: trial._idx([i.item_id for i in engine.feed(
                user, limit=min(500, 3 * trial.size), at=until, journey=journeys[q].found.id).items])
            for q in wanted
        }  # fmt: skip
        for name, order in orders.items():
            claims = claim_in_turn([feeds[q] for q in order[: max(ks)]], trial.size)
            shares = covered(future, claims, ks)
            different = [distinctness(centres[order], k) for k in ks]
            changed = float(order[: max(ks)] != orders[PLAIN][: max(ks)])
            rows.setdefault(name, []).append([*shares, *different, changed])
    return rows


def main() -> None:
    """Measure, print, write ``results/journey_order.json``."""
    parser = argparse.ArgumentParser(description="Ways to order a person's journeys.")
    parser.add_argument("--at", action="append", default=None)
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--set", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    moments = [to_ts_ms(text) for text in args.at or ["2011-06-01", "2011-08-01"]]
    ks = (3, 5, 10)
    rows: dict[str, list[list[float]]] = {}
    with (
        tempfile.TemporaryDirectory() as temporary,
        workspace(Path(temporary) / "w", args.set) as engine,
    ):
        for until in moments:
            for name, found in measure(engine, until, args.users, ks).items():
                rows.setdefault(name, []).extend(found)
    plain = np.array(rows[PLAIN])
    out: dict[str, Any] = {"people": len(plain), "ways": {}}
    table = Table("order", "changed", *(f"covered at {k}" for k in ks), *(f"less plain at {k}" for k in ks),
                  *(f"distinct at {k}" for k in ks))  # fmt: skip
    for name, found in rows.items():
        x = np.array(found)
        gain = [paired_difference(x[:, n], plain[:, n]).interval for n in range(len(ks))]
        mean = [bootstrap(x[:, n]) for n in range(len(ks))]
        apart = x[:, len(ks) : 2 * len(ks)].mean(axis=0)
        out["ways"][name] = {
            "changed": float(x[:, -1].mean()), "coverage": [one.to_dict() for one in mean],
            "less_plain": [one.to_dict() for one in gain], "distinct": apart.tolist(),
        }  # fmt: skip
        table.add_row(name, f"{x[:, -1].mean():.0%}", *(f"{one.value:.3f}" for one in mean),
                      *(f"{one.value:+.3f} ({one.low:+.3f}..{one.high:+.3f})" for one in gain),
                      *(f"{one:.3f}" for one in apart))  # fmt: skip
    Console(width=170).print(f"{len(plain)} people", table)
    if args.set is None:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(out) + "\n", "utf-8")


if __name__ == "__main__":
    main()
