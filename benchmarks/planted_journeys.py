"""Are planted journeys found, staged, named and told as they are? And do stages foresee what real people do?

    python benchmarks/planted_journeys.py [--quick] [--seeds 5] [--people 30] [--packages FOLDER]

People with known journeys (``wayline/evaluation/planted.py``) live for a year in a real catalogue. The engine builds on
that catalogue and its real log alone: no vector, keyword or ranker has seen a planted action. Then the people's actions
come in, and everybody is asked for their journeys, and for what they would be told, as of four days of their year.

Topics of the gift shop are k-means clusters of the words of titles. With ``--packages`` (a folder with items.parquet
and actions.parquet, items with a category) the topics are those categories, which the engine is not given: items come
without category and under other ids. The categories of packages are broad ("system", "libraries"); "apart" keeps those
that are about one thing.

The last table asks real people's logs whether stages foresee who goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS
from wayline.datasets import online_retail
from wayline.evaluation.intervals import bootstrap, resampled_means
from wayline.evaluation.planted import ENDED, ONGOING, PlantedPerson, Planting, plant
from wayline.evaluation.planted_scores import PersonScore, score_person, stage_shares, tellings
from wayline.evaluation.simulated_world import World, make_world, topics_of_titles
from wayline.evaluation.simulator import SimulatedClock
from wayline.journeys.learning import nearest_journey
from wayline.journeys.stages import stage_of
from wayline.notifications.eligibility import Rules, standing_reason

RESULTS = Path(__file__).parent / "results" / "planted_journeys.json"
DAYS = (
    120,
    180,
    240,
    300,
)  # of everybody's 360: what was planted after the last says what was going on then
STRAYS = (0.0, 0.15, 0.3)  # the middle one is what the tables are about
APART = (
    "academic", "audio", "games", "gis", "graphics", "ham", "haskell", "network", "office", "perl", "python", "ruby",
)  # fmt: skip
SMALLEST = 12  # items of a topic
HORIZON_DAYS = 56
LOG_PEOPLE = 500


@dataclass(frozen=True)
class Shop:
    """A catalogue with its log, and the topics that people are planted on."""

    name: str
    items: pl.DataFrame
    log: pl.DataFrame
    topics: dict[str, list[str]]
    worths: dict[str, float]
    action: str
    named: bool  # topics have words that a name may have


@dataclass
class Found:
    """Scores by person, and what they may be told."""

    scores: dict[str, list[PersonScore]] = field(default_factory=dict)
    told: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # see `tellings`
    planned: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)


def gift_shop() -> Shop:
    """The packaged log."""
    data = online_retail()
    items, log = pl.read_parquet(data.items), pl.read_parquet(data.actions).sort("ts")
    topics = topics_of_titles(items, clusters=120, smallest=SMALLEST)
    return Shop("gift shop", items, log, topics, data.config["actions"], "buy", True)


def packages(folder: Path) -> list[Shop]:
    """A folder's log twice, with all categories and with those apart; the engine knows none of them."""
    items = pl.read_parquet(folder / "items.parquet")
    log = pl.read_parquet(folder / "actions.parquet").sort("ts")
    every = sorted({*items["item_id"].to_list(), *log["item_id"].unique().to_list()})
    alias = {item_id: f"p{n:05d}" for n, item_id in enumerate(every)}
    hide = pl.col("item_id").replace_strict(alias)
    groups = items.select(hide, "category").drop_nulls().group_by("category", maintain_order=True)
    topics = {
        name: rows["item_id"].to_list() for (name,), rows in groups if rows.height >= SMALLEST
    }
    items, log = items.with_columns(hide).drop("category"), log.with_columns(hide)
    worths = dict.fromkeys(log["action"].unique().sort().to_list(), 1.0)
    action = str(log["action"].mode().sort()[0])
    apart = {name: ids for name, ids in topics.items() if name in APART}
    whole = Shop("packages, all categories", items, log, topics, worths, action, False)
    return [whole, replace(whole, name="packages, apart", topics=apart)]


def settings(shop: Shop) -> dict[str, dict[str, Any]]:
    """The defaults; who may be told is asked at noon and without quiet hours."""
    return {
        "actions": shop.worths,
        "recipe": {"mode": "plain"},
        "notifications": {"quiet_hours": ""},
    }


def make_base(shop: Shop, folder: Path) -> float:
    """Build on the real log alone; gives the seconds."""
    began = time.perf_counter()
    with wayline.open(folder, create=True, config=settings(shop)) as engine:
        engine.add_items(shop.items)
        engine.add_actions(shop.log)
        engine.build()
    return round(time.perf_counter() - began, 1)


def make_people(
    shop: Shop, seeds: Sequence[int], people: int, stray: float
) -> tuple[World, list[PlantedPerson], int]:
    """Plant everybody; their year ends with the log."""
    start = int(shop.log["ts"].max()) // DAY_MS * DAY_MS - 360 * DAY_MS  # type: ignore[arg-type]
    counts = dict(shop.log["item_id"].value_counts().iter_rows())
    made = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        world = make_world(shop.items["item_id"].to_list(), shop.topics, counts, rng)
        for number in range(people):
            name = f"planted-{seed}-{number}-{stray}"
            how = Planting(stray=stray)
            made.append(plant(world, name, rng, start_ts_ms=start, how=how))
    return world, made, start


def ask(
    shop: Shop, base: Path, world: World, people: Sequence[PlantedPerson], start_ts_ms: int
) -> Found:
    """Ask for everybody's journeys, and for what they would be told, as of each day."""
    words = [_stems(name) for name in world.names] if shop.named else None
    found = Found()
    clock = SimulatedClock(start_ts_ms)
    with wayline.open(base, config=settings(shop), clock=clock) as engine:
        engine.add_actions([row for one in people for row in one.rows(world, shop.action)])
        rules = Rules.of(engine.config.notifications)
        for day in DAYS:
            at = start_ts_ms + day * DAY_MS + DAY_MS // 2
            clock.forward(at)
            plan = {p.message.user_id: p.message.journey_id for p in
                    engine.notifying().plan([one.user_id for one in people]).planned}  # fmt: skip
            for one in people:
                journeys = engine.journeys(one.user_id, limit=500)
                score = score_person(one, journeys, world.item_ids, at, words)
                found.scores.setdefault(one.user_id, []).append(score)
                may = [j for j in journeys if standing_reason(rules, j, at) is None]
                told = [j for j in journeys if j.id == plan.get(one.user_id)]
                for into, which in ((found.told, may), (found.planned, told)):
                    row = tellings(one, which, world.item_ids, at)
                    into.setdefault(one.user_id, []).append(row)
    return found


def _stems(name: str) -> list[str]:
    return [re.sub(r"(ies|es|s|y)$", "", word) for word in name.split()]


def read(found: Found) -> dict[str, Any]:
    """The figures; intervals are bootstraps over people."""
    people = list(found.scores)
    nmi = [np.mean([score.nmi for score in found.scores[who]]) for who in people]
    cases = {who: [case for score in found.scores[who] for case in score.cases] for who in people}
    every = [case for who in people for case in cases[who]]
    right = [[(c.found == c.stage) for c in cases[who]] for who in people]
    ever = [[(c.found_evergreen == c.evergreen) for c in cases[who] if c.evergreen is not None
             and c.found == ONGOING] for who in people]  # fmt: skip
    named = np.array([np.sum([s.named for s in found.scores[who]], axis=0) for who in people])
    ended = sum(case.stage == ENDED for case in every)
    told, planned = (
        np.sum([row for who in people for row in table[who]], axis=0)
        for table in (found.told, found.planned)
    )
    return {
        "people": len(people),
        "planted": float(np.mean([s.planted for who in people for s in found.scores[who]])),
        "found": float(np.mean([s.found for who in people for s in found.scores[who]])),
        "nmi": bootstrap(nmi).to_dict(),
        "stage": _ratio(right),
        "evergreen": _ratio(ever),
        "stages": stage_shares(every),
        "unclear": sum(s.unclear for who in people for s in found.scores[who]),
        "named": float(named[:, 1].sum() / max(named[:, 0].sum(), 1)),
        "ended": ended,
        "may_be_told": _told(told),
        "planned": _told(planned),
    }


def _told(counts: Any) -> dict[str, int]:
    every, ended, mixed = (int(n) for n in counts)
    return {"journeys": every, "of_ended": ended, "of_ended_with_living": mixed}


def _ratio(marks: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Right over all, resampled by person."""
    pair = np.array([[sum(row), len(row)] for row in marks], float)
    means = resampled_means(pair)
    low, high = np.quantile(means[:, 0] / np.maximum(means[:, 1], 1e-9), [0.025, 0.975])
    value = pair[:, 0].sum() / max(pair[:, 1].sum(), 1.0)
    return {"value": float(value), "low": float(low), "high": float(high)}


# -- real people ------------------------------------------------------------------------------------------------------


def suggested(ts_ms: Any, now_ts_ms: int) -> bool:
    """The rule that readers of the publication suggest: three weeks, or three median gaps where that is longer."""
    days = np.unique(ts_ms // DAY_MS)
    usual = float(np.median(np.diff(days))) if len(days) > 1 else 0.0
    return bool(now_ts_ms / DAY_MS - days[-1] <= min(max(21.0, 3 * usual), 180.0))


RULES: dict[str, Callable[[Any, int], bool]] = {
    "three weeks": lambda ts_ms, now: bool(now - ts_ms[-1] <= 21 * DAY_MS),
    "three weeks or three median gaps": suggested,
    "wayline": lambda ts_ms, now: stage_of(ts_ms, now).stage == ONGOING,
}


def foresee(shop: Shop, base: Path) -> dict[str, Any]:
    """Whether real people act on a journey within eight weeks, by what each rule said of it.

    At two moments, 500 people each. The generation knows the whole log, which favours no rule.
    """
    quantiles = [int(shop.log["ts"].quantile(q)) for q in (0.5, 0.75)]  # type: ignore[arg-type]
    said: dict[str, list[bool]] = {name: [] for name in RULES}
    silence: list[float] = []
    later: list[bool] = []
    liked = [name for name, worth in shop.worths.items() if worth > 0]
    with wayline.open(base, config=settings(shop)) as engine:
        served = (
            engine._serving.generation()
        )  # no public answer has the times and the middles of journeys
        assert served.journeys is not None
        places = served.journeys.task.keywords.item_places
        for now in quantiles:
            recent = shop.log.filter(pl.col("ts").is_between(now - 400 * DAY_MS, now))
            users = recent["user_id"].unique().sort().to_list()
            after = shop.log.filter(
                pl.col("ts").is_between(now, now + HORIZON_DAYS * DAY_MS, closed="right")
                & pl.col("action").is_in(liked)
            ).partition_by("user_id", as_dict=True)
            rng = np.random.default_rng(0)
            for n in rng.permutation(len(users))[:LOG_PEOPLE].tolist():
                key = engine.store.user_key(users[n]) or 0
                sequence, _ = engine._serving.sequence(served, key, now)
                journeys = [one.found for one in served.find_journeys(key, users[n], sequence, now)]
                if not journeys:
                    continue
                on: set[int] = set()
                if (users[n],) in after:
                    keys = engine.store.item_keys(after[users[n],]["item_id"].to_list())
                    centres = np.stack([one.centre for one in journeys])
                    on = set(nearest_journey(places, keys - 1, centres).tolist())
                for q, one in enumerate(journeys):
                    later.append(q in on)
                    ends, last = one.stage.ends_ts_ms, int(one.times_ms[-1])
                    silence.append((now - last) / (ends - last) if ends > now else np.inf)
                    for name, rule in RULES.items():
                        said[name].append(rule(one.times_ms, now))
    y, quiet = np.array(later), np.array(silence)
    out: dict[str, Any] = {"journeys": len(y), "continue": float(y.mean()), "rules": {}}
    for name, marks in said.items():
        on_ = np.array(marks)
        out["rules"][name] = {
            "balanced": float((on_[y].mean() + (~on_[~y]).mean()) / 2),
            "ongoing": float(on_.mean()),
            "ongoing_continue": float(y[on_].mean()),
            "ended_continue": float(y[~on_].mean()),
        }
    most = wayline.config.NotificationsConfig().max_silence
    out["short_silence_continue"] = float(y[quiet <= most].mean())
    out["long_silence_continue"] = float(y[(quiet > most) & (quiet < np.inf)].mean())
    return out


# -- the report -------------------------------------------------------------------------------------------------------


def render(out: dict[str, Any]) -> list[Table]:
    """One column a world; then strays, and real people."""
    worlds = out["worlds"]
    main = Table("", *worlds, title="Planted journeys")
    middle = {name: world[str(STRAYS[1])] for name, world in worlds.items()}
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("people; planted, found of each", lambda r: f"{r['people']}; {r['planted']:.1f}, {r['found']:.1f}"),
        ("NMI of items, strays as a class", lambda r: _text(r["nmi"])),
        ("stage right (not found: wrong)", lambda r: _text(r["stage"])),
        ("  of those going on / ended", lambda r: f"{r['stages']['ongoing']:.3f} / {r['stages']['ended']:.3f}"),
        ("  of those found at all", lambda r: f"{r['stages']['of_found']:.3f}"),
        ("  journeys asked about; stage unknowable", lambda r: f"{r['stages']['cases']}; {r['unclear']}"),
        ("evergreen and situational told apart", lambda r: _text(r["evergreen"])),
        ("name has a word of the topic", lambda r: f"{r['named']:.3f}" if r["named"] else "-"),
        ("ended journeys", lambda r: str(r["ended"])),
        ("  of which one would be planned for somebody", lambda r: str(r["planned"]["of_ended"])),
        ("  which any notification may tell of", lambda r: str(r["may_be_told"]["of_ended"])),
        ("  the same, in one with a living journey", lambda r: str(r["may_be_told"]["of_ended_with_living"])),
        ("notifications planned", lambda r: str(r["planned"]["journeys"])),
    ]  # fmt: skip
    for title, cell in lines:
        main.add_row(title, *(cell(row) for row in middle.values()))
    strays = Table("strays for each item of a journey", *worlds, title="NMI; stage right")
    for stray in STRAYS:
        rows = (world[str(stray)] for world in worlds.values())
        strays.add_row(
            str(stray), *(f"{r['nmi']['value']:.3f}; {r['stage']['value']:.3f}" for r in rows)
        )
    real = Table(
        "log", "rule", "balanced", "ongoing", "of those: acted on", "of ended: acted on",
        title=f"Real people: is a journey acted on within {HORIZON_DAYS} days?",
    )  # fmt: skip
    for name, found in out["logs"].items():
        for rule, row in found["rules"].items():
            cells = ("balanced", "ongoing", "ongoing_continue", "ended_continue")
            real.add_row(name, rule, *(f"{row[cell]:.3f}" for cell in cells))
        real.add_row(
            "", "wayline, silence short enough to be told / longer", "", "",
            f"{found['short_silence_continue']:.3f} / {found['long_silence_continue']:.3f}", "",
        )  # fmt: skip
    return [main, strays, real]


def _text(interval: dict[str, float]) -> str:
    return f"{interval['value']:.3f} ({interval['low']:.3f}..{interval['high']:.3f})"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Plant, ask, print tables, write ``results/planted_journeys.json``."""
    parser = argparse.ArgumentParser(
        description="Are planted journeys found, staged, named and told?"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="others than 0 to develop on")
    parser.add_argument("--people", type=int, default=30, help="a seed")
    parser.add_argument("--packages", type=Path, metavar="FOLDER", help="a log with categories")
    parser.add_argument("--quick", action="store_true", help="one seed of six people")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    seeds, people = (1, 6) if args.quick else (args.seeds, args.people)
    drawn = range(args.first_seed, args.first_seed + seeds)
    began = time.perf_counter()
    shops = [gift_shop(), *(packages(args.packages) if args.packages else [])]
    out: dict[str, Any] = {"seeds": list(drawn), "people": people, "worlds": {}, "logs": {}}
    with tempfile.TemporaryDirectory() as temporary:
        built: dict[str, Path] = {}
        for shop in shops:
            log = shop.name.split(",")[0]
            if log not in built:
                built[log] = Path(temporary) / log
                out[f"built_s, {log}"] = make_base(shop, built[log])
                out["logs"][log] = foresee(shop, built[log])
            out["worlds"][shop.name] = {}
            for stray in STRAYS:
                world, planted, start = make_people(shop, drawn, people, stray)
                planted = [replace(p, user_id=f"{shop.name}-{p.user_id}") for p in planted]
                found = ask(shop, built[log], world, planted, start)
                out["worlds"][shop.name][str(stray)] = read(found)
    out["total_s"] = round(time.perf_counter() - began, 1)
    if not args.quick and args.first_seed == 0:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(out) + "\n", "utf-8")
    if args.json:
        print(json.dumps(out))
    else:
        console = Console()
        for table in render(out):
            console.print(table)
    return out


if __name__ == "__main__":
    main()
