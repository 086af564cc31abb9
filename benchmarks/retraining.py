"""What does training again bring? Two simulated weeks with a ranker trained once, weekly, and twice a week.

    python benchmarks/retraining.py [--quick] [--seeds 2] [--people 60] [--margin M] [--json]

Simulated people live in the packaged shop (``wayline/evaluation/simulator.py``), its log before them in the build and
around them as they go: two feeds of 20 a day for 14 days. Half of them have interests that die, grow and are born
(``changing_lives``), half keep theirs. One workspace is built and trained at the start; every seed meets each arm in
a fresh copy of it, in the same mood.

All arms build at the midnights of days 4, 7 and 11 and differ in what follows: nothing (``none``), a training that
goes on from the ranker in use on day 7 (``weekly``) or after each build (``twice weekly``). ``recipe`` has no ranker.
A build takes the ranker along, and a training that makes no better one leaves it as it is: ``trainings`` in the report
says which did and why. A ranker that goes on knows the actions of its first training: one ``hide`` stands in the log.
``--margin -1`` publishes every ranker, to see what the guard prevents or costs.

Builds are the quick kind (``recipe.mode = "plain"``, ``embeddings.kind = "graph"``): the recipe here is weaker than
the one that ``fit`` finds, so what a ranker adds to it is more than it would add there. ``ranking.budget_ms`` is
raised, so that a busy machine leaves no ranker out.

Writes ``results/retraining.json``, and with ``--plot`` the picture: engagements a feed, the mean of three days (two at
the ends).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS, to_ts_ms
from wayline.datasets import online_retail
from wayline.errors import TooLittleToTrainError
from wayline.evaluation.intervals import bootstrap, paired_difference
from wayline.evaluation.simulated_people import WORTHS, Life, Person, changing_lives, make_person
from wayline.evaluation.simulated_run import Run
from wayline.evaluation.simulated_world import World, make_world, topics_of_titles
from wayline.evaluation.simulator import SimulatedClock, simulate

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "retraining.json"
PLOT = HERE.parent / "docs" / "images" / "retraining.svg"
START_TS_MS = to_ts_ms("2011-09-01")
DAYS, FEEDS_A_DAY, LIMIT = 14, 2, 20
BUILDS = (4, 7, 11)  # days at whose beginning every arm builds
ARMS: dict[str, tuple[int, ...]] = {
    "recipe": (),
    "none": (),
    "weekly": (7,),
    "twice weekly": BUILDS,
}
AGAINST = "none"
DEATH, BIRTH = 10, 16  # feeds, of those whose interests change
STEADY = (1.0, 0.6, 0.5, 0.4, 0.3)  # interests of the others
WEEKS = {"week 1": slice(0, 7), "week 2": slice(7, 14)}
QUICK = {"max_requests": 1500, "epochs": 1, "windows": 1}


@dataclass(frozen=True, slots=True)
class Shop:
    """The catalogue, its whole log, and what actions are worth."""

    items: pl.DataFrame
    log: pl.DataFrame
    worths: dict[str, float]


@dataclass(frozen=True, slots=True)
class Seed:
    """The people of one seed, and the generator that their reactions go on with."""

    world: World
    people: list[Person]
    rng: np.random.Generator


@dataclass(slots=True)
class Lived:
    """What happened with one arm: mean figures of each person and day, shape [people, days]."""

    engagements: np.ndarray
    refusals: np.ndarray
    ranked: float
    seconds: float
    trainings: list[dict[str, Any]] = field(default_factory=list)


def open_shop() -> Shop:
    """Open the packaged gift shop."""
    data = online_retail()
    items, log = pl.read_parquet(data.items), pl.read_parquet(data.actions)
    return Shop(items, log, {**data.config["actions"], **WORTHS})


def make_seeds(shop: Shop, seeds: int, people: int) -> list[Seed]:
    """Draw everybody before the first feed."""
    counts = dict(shop.log["item_id"].value_counts().iter_rows())
    topics = topics_of_titles(shop.items)
    made = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        world = make_world(shop.items["item_id"].to_list(), topics, counts, rng)
        persons = []
        for number in range(people):
            drawn = rng.choice(len(world.names), 6, replace=False).tolist()
            lives = (
                changing_lives(drawn, death=DEATH, birth=BIRTH)
                if number % 2
                else [Life(k, (-1,), (s,)) for k, s in zip(drawn, STEADY, strict=False)]
            )
            name = f"living-{seed}-{number}"
            persons.append(
                make_person(
                    world, name, lives, rng, start_ts_ms=START_TS_MS,
                    feeds=DAYS * FEEDS_A_DAY, feeds_a_day=FEEDS_A_DAY,
                )
            )  # fmt: skip
        made.append(Seed(world, persons, rng))
    return made


def settings(shop: Shop, args: argparse.Namespace, arm: str = AGAINST) -> dict[str, dict[str, Any]]:
    """Give the settings of an arm."""
    ranking: dict[str, Any] = {"margin": args.margin, "budget_ms": 60_000.0, "threads": 1}
    ranking["mode"] = "off" if arm == "recipe" else "auto"
    if args.quick:
        ranking |= QUICK
    return {
        "actions": shop.worths,
        "embeddings": {"kind": "graph"},
        "recipe": {"mode": "plain"},
        "ranking": ranking,
    }


def make_base(
    shop: Shop, seeds: list[Seed], folder: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Make the workspace that every run starts from; gives what its training decided."""
    last = START_TS_MS + (DAYS + 2) * DAY_MS
    with wayline.open(folder, create=True, config=settings(shop, args)) as engine:
        engine.add_items(shop.items)
        engine.add_actions(shop.log.filter(pl.col("ts") <= last))
        engine.add_actions([row for s in seeds for p in s.people for row in p.history])
        first = seeds[0].people[0].history[0]
        engine.add_actions([{**first, "action": "hide", "ts": first["ts"] - DAY_MS}])
        engine.build(until=START_TS_MS)
        return train(engine, day=0, go_on=False)


def train(engine: wayline.Engine, *, day: int, go_on: bool) -> dict[str, Any]:
    """Train, and say what came of it."""
    began = time.perf_counter()
    try:
        report = engine.train(go_on=go_on).metrics["ranker"]
    except TooLittleToTrainError as error:
        report = {"decided": "kept", "why": str(error)}
    kept = ("decided", "why", "requests", "recipe_ndcg_at_10", "ndcg_at_10", "serving_ndcg_at_10",
            "change", "gain_by_regime", "regimes")  # fmt: skip
    return {
        "day": day,
        "seconds": round(time.perf_counter() - began, 1),
        **{name: report[name] for name in kept if name in report},
    }


def live(shop: Shop, seed: Seed, base: Path, arm: str, args: argparse.Namespace) -> Lived:
    """Let the people of a seed live with one arm, in a copy of the base."""
    work = base.with_name("living")
    shutil.copytree(base, work)
    clock = SimulatedClock(START_TS_MS)
    rng = np.random.default_rng()
    rng.bit_generator.state = seed.rng.bit_generator.state  # each arm meets them in the same mood
    trainings: list[dict[str, Any]] = []
    began = time.perf_counter()
    with wayline.open(work, config=settings(shop, args, arm), clock=clock) as engine:

        def at_midnight(ts_ms: int) -> None:
            day = (ts_ms - START_TS_MS) // DAY_MS
            if day in BUILDS:
                engine.build(until=ts_ms)
            if day in ARMS[arm]:
                trainings.append(train(engine, day=day, go_on=True))

        run = simulate(
            engine, seed.world, seed.people, rng, clock=clock, limit=LIMIT, settle=engine.request,
            nightly=at_midnight,
        )  # fmt: skip
        counters = engine.stats()["counters"]
    shutil.rmtree(work)
    return Lived(
        by_day(run, run.engaged, len(seed.people)),
        by_day(run, run.hidden, len(seed.people)),
        counters.get("ranked_feeds", 0) / counters["feeds"],
        round(time.perf_counter() - began, 1),
        trainings,
    )


def by_day(run: Run, marks: np.ndarray, people: int) -> np.ndarray:
    """Give the marks a feed of each person on each day, shape [people, days]."""
    days = (int(run.feed.max()) + 1) // FEEDS_A_DAY
    out = np.zeros((people, days))
    np.add.at(out, (run.person, run.feed // FEEDS_A_DAY), marks.sum(axis=1) / FEEDS_A_DAY)
    return out


def compare(lived: dict[str, list[Lived]]) -> dict[str, Any]:
    """Put the arms side by side, paired by person; intervals are bootstraps over people."""
    engagements = {
        arm: np.concatenate([x.engagements for x in runs]) for arm, runs in lived.items()
    }
    refusals = {arm: np.concatenate([x.refusals for x in runs]) for arm, runs in lived.items()}
    out: dict[str, Any] = {}
    for arm, runs in lived.items():
        weeks = {}
        for week, days in WEEKS.items():
            mine, theirs = (engagements[name][:, days].mean(axis=1) for name in (arm, AGAINST))
            hidden, before = (refusals[name][:, days].mean(axis=1) for name in (arm, AGAINST))
            gain = paired_difference(mine, theirs)
            weeks[week] = {
                "engagements": bootstrap(mine).to_dict(),
                "refusals": bootstrap(hidden).to_dict(),
                f"engagements_less_{AGAINST}": gain.interval.to_dict(),
                "clear": gain.clear,
                f"refusals_less_{AGAINST}": paired_difference(hidden, before).interval.to_dict(),
            }
        out[arm] = {
            **weeks,
            "engagements_by_day": engagements[arm].mean(axis=0).round(4).tolist(),
            "refusals_by_day": refusals[arm].mean(axis=0).round(4).tolist(),
            "ranked_share": round(float(np.mean([x.ranked for x in runs])), 4),
            "seconds": [x.seconds for x in runs],
            "trainings": [x.trainings for x in runs],
        }
    return out


def render(report: dict[str, Any]) -> Table:
    """One column an arm."""
    table = Table("", *report, title="Engagements a feed over two weeks")
    lines = [
        ("engagements a feed", "engagements", 3),
        ("  less those of none", f"engagements_less_{AGAINST}", 3),
    ]
    lines += [
        ("refusals a feed", "refusals", 4),
        ("  less those of none", f"refusals_less_{AGAINST}", 4),
    ]
    for week in WEEKS:
        for title, name, digits in lines:
            texts = (_text(row[week][name], digits) for row in report.values())
            table.add_row(f"{week}: {title}" if title[0] != " " else title, *texts)
    table.add_row("trainings", *(_decisions(row["trainings"]) for row in report.values()))
    return table


def _text(interval: dict[str, float], digits: int) -> str:
    return f"{interval['value']:.{digits}f} ({interval['low']:.{digits}f}..{interval['high']:.{digits}f})"


def _decisions(trainings: list[list[dict[str, Any]]]) -> str:
    made = [one["decided"] for run in trainings for one in run]
    return f"{made.count('ranker')} of {len(made)} served" if made else "-"


# -- the picture -------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 50, 60
COLOURS = {"recipe": "#777777", "none": "#d95f02", "weekly": "#1b6ca8", "twice weekly": "#1b8a5a"}
CALLED = {
    "recipe": "recipe only",
    "none": "trained once",
    "weekly": "weekly",
    "twice weekly": "twice weekly",
}
DASHES = {"recipe": "2 4", "none": "", "weekly": "8 4", "twice weekly": ""}


def picture(report: dict[str, Any]) -> str:
    """Draw engagements a feed by day, one line an arm, as SVG."""
    lines = {arm: smoothed(row["engagements_by_day"]) for arm, row in report.items()}
    every = np.concatenate(list(lines.values()))
    step = next(s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if np.ptp(every) / s <= 6)
    low, high = np.floor(every.min() / step) * step, np.ceil(every.max() / step) * step
    if low == high:
        high += step

    def x(day: float) -> float:
        return LEFT + day / DAYS * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#222222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="16">Engagements a feed (mean of three days)</text>',
    ]
    for value in np.arange(low, high + step / 2, step).tolist():
        parts.append(_line(x(0), y(value), x(DAYS), y(value), "#e4e4e4"))
        parts.append(
            f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>'
        )
    parts += [
        f'<text x="{x(day):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{day}</text>'
        for day in range(0, DAYS + 1, 2)
    ]
    parts += [_line(x(day), TOP, x(day), y(low), "#bbbbbb", "3 3") for day in BUILDS]
    parts.append(_line(x(0), y(low), x(DAYS), y(low), "#222222"))
    parts.append(
        f'<text x="{(x(0) + x(DAYS)) / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">'
        "days since the first training; every arm builds at the dashed lines</text>"
    )
    for number, (arm, line) in enumerate(lines.items()):
        points = " ".join(f"{x(d + 0.5):.1f},{y(v):.1f}" for d, v in enumerate(line.tolist()))
        stroke = f'stroke="{COLOURS[arm]}" stroke-width="2.5" stroke-dasharray="{DASHES[arm]}"'
        parts.append(f'<polyline points="{points}" fill="none" {stroke}/>')
        at = TOP + 10 + 24 * number
        begin = WIDTH - RIGHT + 14
        parts.append(f'<line x1="{begin}" y1="{at}" x2="{begin + 30}" y2="{at}" {stroke}/>')
        parts.append(f'<text x="{begin + 36}" y="{at + 4}">{CALLED[arm]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def smoothed(values: list[float]) -> np.ndarray:
    """Give the mean of each day with its neighbours."""
    ones = np.ones(3)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    at = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {at} stroke="{colour}" stroke-dasharray="{dashes}"/>'


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run every arm on every seed, print a table, write ``results/retraining.json``."""
    parser = argparse.ArgumentParser(description="What does training again bring?")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--people", type=int, default=60, help="a seed")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument(
        "--margin", type=float, default=0.0, help="ranking.margin; -1: always serve"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one seed of six people, small trainings"
    )
    parser.add_argument("--plot", action="store_true", help=f"write docs/images/{PLOT.name}")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    seeds, people = (1, 6) if args.quick else (args.seeds, args.people)
    began = time.perf_counter()
    shop = open_shop()
    made = make_seeds(shop, seeds, people)
    arms = [arm for arm in ARMS if arm in {*args.arms, AGAINST}]
    lived: dict[str, list[Lived]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        first = make_base(shop, made, base, args)
        for seed in made:
            for arm in arms:
                lived[arm].append(live(shop, seed, base, arm, args))
    report = compare(lived)
    out = {
        "seeds": seeds,
        "people": people,
        "days": DAYS,
        "builds": BUILDS,
        "margin": args.margin,
        "first_training": first,
        "total_s": round(time.perf_counter() - began, 1),
        "arms": report,
    }
    if not args.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(out) + "\n", "utf-8")
    if args.plot:
        PLOT.parent.mkdir(exist_ok=True)
        PLOT.write_text(picture(report), "utf-8")
    if args.json:
        print(json.dumps(out))
    else:
        console = Console()
        console.print(render(report))
        console.print(f"The first training: {first['decided']}, {first['why']}.")
    return out


if __name__ == "__main__":
    main()
