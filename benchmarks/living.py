"""Do feeds follow people whose interests die, grow and are born? Query Reward against sampling without feedback.

    python benchmarks/living.py [--quick] [--seeds 10] [--people 4] [--build-every DAYS] [--data FOLDER]

Simulated people live in a real shop (``wayline/evaluation/simulator.py``): its catalogue, its log before them in the
build and around them as they go. They have five interests of shares .38 .23 .19 .15 .06; at feed 12 the largest dies
while the smallest starts to grow, at feed 24 a sixth is born. The same people in the same mood meet each way of
sampling (``rewards.sampling``: nothing else differs), every seed in a fresh copy of one built workspace, the four side
by side before the next seed. One build at the start; everything after it is online, unless ``--build-every``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS, to_ts_ms
from wayline.datasets import online_retail
from wayline.evaluation.intervals import bootstrap, paired_difference
from wayline.evaluation.simulated_people import WORTHS, Person, changing_lives, make_person
from wayline.evaluation.simulated_run import (
    Run,
    exposure,
    feeds_until_half,
    median_interval,
    median_ratio,
)
from wayline.evaluation.simulated_world import (
    World,
    make_world,
    topics_of_tags,
    topics_of_titles,
)
from wayline.evaluation.simulator import SimulatedClock, simulate

RESULTS = Path(__file__).parent / "results" / "living.json"
ARMS = ("reward", "thompson", "importance", "count")
DEATH, BIRTH, FEEDS = 12, 24, 44
DYING, GROWING, NEW = 0, 4, 5  # of `changing_lives`
DISLIKES = ("dislike", "hide", "return")
FIRST = 10  # feeds after the birth in which the new interest's exposure is read


@dataclass(frozen=True)
class Shop:
    """What people live in: a catalogue, its log, its topics, and when they come."""

    items: pl.DataFrame
    log: pl.DataFrame
    topics: dict[str, list[str]]
    worths: dict[str, float]
    start_ts_ms: int
    fatigue: float | None = None


@dataclass(frozen=True)
class Seed:
    """The people of one seed, and the generator that their reactions go on with."""

    world: World
    people: list[Person]
    rng: np.random.Generator


def open_shop(folder: str | None) -> Shop:
    """The packaged gift shop from September 2011 on, or a folder in the same layout at 7/10 of its actions."""
    if folder is None:
        data = online_retail()
        items, log = pl.read_parquet(data.items), pl.read_parquet(data.actions)
        topics = topics_of_titles(items)
        return Shop(items, log, topics, data.config["actions"], to_ts_ms("2011-09-01"))
    items = pl.read_parquet(Path(folder) / "items.parquet")
    log = pl.read_parquet(Path(folder) / "actions.parquet").sort("ts")
    tagged = "tags" in items.columns
    topics = topics_of_tags(items) if tagged else topics_of_titles(items)
    names = log["action"].unique().sort().to_list()
    worths = {name: -1.0 if name in DISLIKES else 1.0 for name in names}
    return Shop(items, log, topics, worths, int(log["ts"][log.height * 7 // 10]))


def make_seeds(shop: Shop, seeds: int, people: int, feeds: int) -> list[Seed]:
    """Draw everybody before the first feed."""
    counts = dict(shop.log["item_id"].value_counts().iter_rows())
    made = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        world = make_world(shop.items["item_id"].to_list(), shop.topics, counts, rng)
        persons = []
        for number in range(people):
            topics = rng.choice(len(world.names), 6, replace=False).tolist()
            lives = changing_lives(topics, death=DEATH, birth=BIRTH)
            name = f"living-{seed}-{number}"
            start = shop.start_ts_ms
            persons.append(make_person(world, name, lives, rng, start_ts_ms=start, feeds=feeds))
        made.append(Seed(world, persons, rng))
    return made


def settings(shop: Shop, arm: str) -> dict[str, dict[str, Any]]:
    """The settings of an arm: the defaults (and ``--fatigue``), and how interests are drawn."""
    feed = {} if shop.fatigue is None else {"fatigue": shop.fatigue}
    return {"actions": {**shop.worths, **WORTHS}, "rewards": {"sampling": arm}, "feed": feed}


def make_base(shop: Shop, seeds: list[Seed], folder: Path) -> None:
    """Make the workspace that every run starts from: catalogue, log, everybody's history, one build."""
    last = max(int(p.feed_ts_ms[-1]) for s in seeds for p in s.people) + 2 * DAY_MS
    with wayline.open(folder, create=True, config=settings(shop, ARMS[0])) as engine:
        engine.add_items(shop.items)
        engine.add_actions(shop.log.filter(pl.col("ts") <= last))
        engine.add_actions([row for s in seeds for p in s.people for row in p.history])
        engine.build(until=shop.start_ts_ms)


def live(shop: Shop, seed: Seed, base: Path, arm: str, build_every: int) -> Run:
    """Let the people of a seed live with one arm, in a copy of the base."""
    work = base.with_name("living")
    shutil.copytree(base, work)
    clock = SimulatedClock(shop.start_ts_ms)
    rng = np.random.default_rng()
    rng.bit_generator.state = seed.rng.bit_generator.state  # each arm meets them in the same mood
    with wayline.open(work, config=settings(shop, arm), clock=clock) as engine:
        run = simulate(
            engine, seed.world, seed.people, rng, clock=clock, settle=engine.request,
            nightly=(lambda ts_ms: engine.build(until=ts_ms)) if build_every else None,
            every_days=max(build_every, 1),
        )  # fmt: skip
    shutil.rmtree(work)
    return run


def read(run: Run, people: list[Person]) -> dict[str, Any]:
    """The figures of one run."""
    shares = [run.share([p.lives[k].topic for p in people]) for k in range(len(people[0].lives))]
    left = feeds_until_half(shares[DYING], DEATH)
    engagements, refusals = run.engagements(), run.refusals()
    return {
        "feeds_until_half": left.feeds,
        "censored": left.censored,
        "share_before": left.before,
        "engagements_before": float(engagements[:DEATH].mean()),
        "engagements_after": float(engagements[DEATH:].mean()),
        "refusals_after": float(refusals[DEATH:].mean()),
        "growing_share_end": float(shares[GROWING][-8:].mean()),
        "new_share_first": exposure(shares[NEW], BIRTH, span=FIRST),
        "shares": [[round(float(x), 4) for x in share] for share in shares],
        "engagements": [round(float(x), 4) for x in engagements],
    }


def compare(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Put the arms side by side, paired by seed; intervals are bootstraps over seeds."""
    column = {arm: _columns(found) for arm, found in runs.items()}
    out: dict[str, Any] = {}
    for arm, mine in column.items():
        others = {}
        for other, theirs in column.items():
            if other == arm:
                continue
            gain = paired_difference(mine["engagements_after"], theirs["engagements_after"])
            ratio = median_ratio(mine["feeds_until_half"], theirs["feeds_until_half"])
            others[other] = {
                "feeds_until_half_ratio": ratio.to_dict(),
                "engagements_after_difference": gain.interval.to_dict(),
                "engagements_clear": gain.clear,
            }
        out[arm] = {
            "feeds_until_half": median_interval(mine["feeds_until_half"]).to_dict(),
            "censored": int(mine["censored"].sum()),
            **{
                name: bootstrap(mine[name]).to_dict()
                for name in (
                    "share_before", "engagements_before", "engagements_after", "refusals_after",
                    "growing_share_end", "new_share_first",
                )
            },
            "new_share_least": float(mine["new_share_first"].min()),
            "against": others,
        }  # fmt: skip
    return out


def _columns(found: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    scalar = [name for name, value in found[0].items() if not isinstance(value, list)]
    return {name: np.array([row[name] for row in found], float) for name in scalar}


def render(report: dict[str, Any], floor: float) -> Table:
    """One column an arm."""
    table = Table("", *report, title="Feeds for people whose interests change")
    lines = [
        ("feeds until half of the dead interest's places are gone", "feeds_until_half", 1),
        ("  its share of the places before", "share_before", 3),
        ("engagements a feed, before the death", "engagements_before", 2),
        ("engagements a feed, after", "engagements_after", 2),
        ("refusals a feed, after", "refusals_after", 3),
        ("share of the growing interest, last 8 feeds", "growing_share_end", 3),
        (f"share of the new one, first {FIRST} feeds (floor {floor:.3f})", "new_share_first", 3),
    ]
    for title, name, digits in lines:
        table.add_row(title, *(_text(row[name], digits) for row in report.values()))
    table.add_row(
        "  seeds where half never went", *(str(row["censored"]) for row in report.values())
    )
    for other in report:
        for title, name in (
            (f"feeds until half, against {other}: times", "feeds_until_half_ratio"),
            (f"engagements after, less those of {other}", "engagements_after_difference"),
        ):
            cells = [
                _text(row["against"][other][name]) if arm != other else "-"
                for arm, row in report.items()
            ]
            table.add_row(title, *cells)
    return table


def _text(interval: dict[str, float], digits: int = 2) -> str:
    # A median of 0 feeds makes a ratio without an upper end.
    value, low, high = (
        "∞" if interval[name] > 1e6 else f"{interval[name]:.{digits}f}"
        for name in ("value", "low", "high")
    )
    return f"{value} ({low}..{high})"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run every arm on every seed, print a table, write ``results/living.json``."""
    parser = argparse.ArgumentParser(description="Feeds for people whose interests change.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--people", type=int, default=4, help="a seed")
    parser.add_argument("--feeds", type=int, default=FEEDS)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--build-every", type=int, default=0, metavar="DAYS", help="0: never")
    parser.add_argument("--data", metavar="FOLDER", help="a folder with items and actions.parquet")
    parser.add_argument("--fatigue", type=float, help="feed.fatigue of every arm; 0 for none")
    parser.add_argument("--quick", action="store_true", help="two seeds of two people")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    seeds, people = (2, 2) if args.quick else (args.seeds, args.people)
    began = time.perf_counter()
    shop = replace(open_shop(args.data), fatigue=args.fatigue)
    made = make_seeds(shop, seeds, people, args.feeds)
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in args.arms}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        make_base(shop, made, base)
        with wayline.open(base) as engine:
            floor = engine.config.rewards.floor / len(made[0].people[0].lives)
        built_s = time.perf_counter() - began
        for seed in made:
            for arm in args.arms:
                runs[arm].append(read(live(shop, seed, base, arm, args.build_every), seed.people))
    report = compare(runs)
    out = {
        "seeds": seeds,
        "people": people,
        "feeds": args.feeds,
        "death": DEATH,
        "birth": BIRTH,
        "build_every_days": args.build_every,
        "fatigue": args.fatigue,
        "floor": floor,
        "built_s": round(built_s, 1),
        "total_s": round(time.perf_counter() - began, 1),
        "arms": report,
        "runs": runs,
    }
    if not args.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(out) + "\n", "utf-8")
    if args.json:
        print(json.dumps({k: v for k, v in out.items() if k != "runs"}))
    else:
        Console().print(render(report, floor))
    return out


if __name__ == "__main__":
    main()
