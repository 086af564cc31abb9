"""Does the very next feed follow? Two actions on something a person never touched, and the share it then has.

    python benchmarks/responsiveness.py [--quick] [--seeds 5] [--people 12] [--json]

The packaged shop as of November 2011, one build and one training. Real people of its log (``replay``) and simulated
ones (``wayline/evaluation/simulator.py``, their histories in the log before the build), with short histories (3 to 10
actions) and long ones (100 or more). Each has a topic that none of their actions touched. They ask for a feed of 20,
buy two items of that topic (the simulated find them by a search) ten seconds apart, and ask again five seconds later.
Read is the topic's share of the places before and after, the two items themselves left out.

The arms differ in the ranker alone, and are asked about the same moments of one workspace:

- ``recipe``: none (``ranking.mode = "off"``);
- ``ranker``: what training made, with the share of the order that it won in each regime, and none where it did not win;
- ``held``: the same, but the sequence it reads is that of the feed before: everything else still follows;
- ``full``, ``full held``, ``full empty``: the ranker with the whole order in both regimes; the last reads no sequence.

Training runs with ``ranking.margin = -1``, which publishes a ranker whatever it is worth, for the last three arms;
``ranker`` and ``held`` serve where the gain says that it would be published with a margin of 0. ``ranking.budget_ms``
is raised, so that a busy machine leaves no ranker out, and an answer that lacks a source is asked for once more
(``degraded`` counts those that went on lacking one).

Nobody's actions reach anybody else's feed. People stand a minute apart and the latest is asked first; feeds are asked
for with ``at=``, which sees no later action and leaves no impressions. ``leaks`` counts the first feeds that are not
what they were before anybody acted. Fatigue from the first feed therefore plays no part in the second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import to_ts_ms
from wayline.datasets import online_retail
from wayline.evaluation.intervals import (
    Interval,
    bootstrap,
    paired_difference,
    ratio_lift,
    resampled_means,
)
from wayline.evaluation.simulated_people import SEARCH, WORTHS, Life, Row, make_person
from wayline.evaluation.simulated_world import World, make_world, topics_of_titles
from wayline.ranking.examples.sampled import MIN_HISTORY
from wayline.schema import Feed

RESULTS = Path(__file__).parent / "results" / "responsiveness.json"
NOW_TS_MS = to_ts_ms("2011-11-01")
KINDS, LENGTHS = ("replay", "simulated"), ("short", "long")
SHORT, LONG = (MIN_HISTORY, 10), 100  # actions; the ranker leaves shorter histories to the recipe
DRAWN = {"short": 8, "long": 120}  # of a simulated person
STRENGTHS = (1.0, 0.6, 0.4, 0.3)  # of their topics
LIMIT = 20
MINUTE_MS = 60_000  # between people
ACTIONS_MS, NEXT_MS = (10_000, 20_000), 25_000  # after a person's first feed
REGIMES = ("visit", "return")
FIGURES = ("before", "after", "ranked")
NOBODY = 0  # no person has this key
TRIES = 5
QUICK: dict[str, dict[str, Any]] = {
    "embeddings": {"kind": "graph"},
    "recipe": {"mode": "plain"},
    "ranking": {"max_requests": 1500, "epochs": 1, "windows": 1},
}


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to serve: where the ranker has a share of the order, and which sequence it reads."""

    share: str  # "none", "won" or "full"
    reads: str = "now"  # "now", "held" or "nothing"


ARMS = {
    "recipe": Arm("none"),
    "ranker": Arm("won"),
    "held": Arm("won", "held"),
    "full": Arm("full"),
    "full held": Arm("full", "held"),
    "full empty": Arm("full", "nothing"),
}
PAIRS = (
    ("ranker", "held"),
    ("full", "full held"),
    ("full", "full empty"),
    ("ranker", "recipe"),
    ("full", "recipe"),
)


@dataclass(frozen=True, slots=True)
class Guest:
    """A person before two feeds: who, when, which topic, and the two actions on it."""

    user_id: str
    kind: str
    length: str
    at_ts_ms: int
    topic: int
    actions: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Shop:
    """The catalogue, its log up to now with the histories of the simulated, and the people who ask."""

    world: World
    items: pl.DataFrame
    log: pl.DataFrame
    guests: list[Guest]
    worths: dict[str, float]


def make_shop(seeds: int, people: int) -> Shop:
    """Draw ``people`` of every kind and length for every seed; no real person twice."""
    data = online_retail()
    items = pl.read_parquet(data.items)
    log = pl.read_parquet(data.actions).filter(pl.col("ts") <= NOW_TS_MS)
    counts = dict(log["item_id"].value_counts().iter_rows())
    topics = topics_of_titles(items)
    world = make_world(items["item_id"].to_list(), topics, counts, np.random.default_rng(0))
    people_of = {}
    for length in LENGTHS:
        found = with_a_topic_left(log, world, length)
        if len(found) < seeds * people:
            raise SystemExit(f"There are {len(found)} real people of {length} history: ask fewer.")
        people_of[length] = np.random.default_rng(0).permutation(found).tolist()
    simulated: list[pl.DataFrame] = []
    drawn: list[tuple[str, str, str, np.random.Generator]] = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for length in LENGTHS:
            for number in range(seed * people, (seed + 1) * people):
                name = f"simulated-{length}-{number}"
                simulated.append(pl.DataFrame(draw_history(world, name, length, rng)))
                drawn.append(("replay", length, people_of[length][number], rng))
                drawn.append(("simulated", length, name, rng))
    log = pl.concat([log, *simulated], how="diagonal")
    touched = touched_topics(log, world)
    minutes = np.random.default_rng(seeds).permutation(len(drawn)) + 1  # kinds and lengths mixed
    guests = [
        make_guest(world, counts, touched[name], name, kind, length, NOW_TS_MS + minute * MINUTE_MS, rng)
        for minute, (kind, length, name, rng) in zip(minutes.tolist(), drawn, strict=True)
    ]  # fmt: skip
    return Shop(world, items, log, guests, {**data.config["actions"], **WORTHS})


def touched_topics(log: pl.DataFrame, world: World) -> dict[str, set[int]]:
    """Give the topics of everything a person acted on."""
    topic = pl.DataFrame({"item_id": world.item_ids, "topic": world.topic})
    rows = log.join(topic, on="item_id").group_by("user_id").agg(pl.col("topic").unique())
    return {user_id: set(found) for user_id, found in rows.iter_rows()}


def with_a_topic_left(log: pl.DataFrame, world: World, length: str) -> list[str]:
    """Give the people of a length who left some topic untouched."""
    bought = pl.col("item_id").filter(pl.col("action") == "buy").n_unique()
    rows = log.group_by("user_id").agg(n=pl.len(), bought=bought).sort("user_id")
    least, most = SHORT
    short = (pl.col("n") <= most) & (pl.col("bought") >= least)
    wanted = short if length == "short" else pl.col("n") >= LONG
    touched = touched_topics(log, world)
    return [
        user_id
        for user_id in rows.filter(wanted)["user_id"].to_list()
        if user_id in touched and len(touched[user_id] - {-1}) < len(world.names)
    ]


def draw_history(world: World, user_id: str, length: str, rng: np.random.Generator) -> list[Row]:
    """Let somebody with four topics live until now."""
    topics = rng.choice(len(world.names), len(STRENGTHS), replace=False).tolist()
    lives = [Life(k, (-1,), (strength,)) for k, strength in zip(topics, STRENGTHS, strict=True)]
    person = make_person(
        world, user_id, lives, rng, start_ts_ms=NOW_TS_MS, feeds=1, history=DRAWN[length]
    )
    return person.history


def make_guest(
    world: World,
    counts: dict[str, int],
    touched: set[int],
    user_id: str,
    kind: str,
    length: str,
    at_ts_ms: int,
    rng: np.random.Generator,
) -> Guest:
    """Choose a topic that a person never touched, and two items of it by their appeal."""
    topic = int(rng.choice([k for k in range(len(world.names)) if k not in touched]))
    rows = world.items_of(topic)
    sold = np.array([counts.get(world.item_ids[row], 0) > 0 for row in rows.tolist()])
    appeal = world.appeal[rows] ** 2 * sold
    chosen = rng.choice(rows, len(ACTIONS_MS), replace=False, p=appeal / appeal.sum())
    more = {"surface": SEARCH} if kind == "simulated" else {}
    actions = tuple(
        {"user_id": user_id, "item_id": world.item_ids[row], "action": "buy", "ts": at_ts_ms + later, **more}
        for row, later in zip(chosen.tolist(), ACTIONS_MS, strict=True)
    )  # fmt: skip
    return Guest(user_id, kind, length, at_ts_ms, topic, actions)


def settings(shop: Shop, *, mode: str = "auto", quick: bool = False) -> dict[str, dict[str, Any]]:
    """The defaults, but for what the docstring above says."""
    ranking = {"mode": mode, "margin": -1.0, "budget_ms": 60_000.0, "threads": 1}
    more = QUICK if quick else {}
    return {**more, "actions": shop.worths, "ranking": {**more.get("ranking", {}), **ranking}}


def make_base(shop: Shop, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Fill, build and train the workspace; gives what training reports, and the seconds."""
    with wayline.open(folder, create=True, config=settings(shop, quick=quick)) as engine:
        engine.add_items(shop.items)
        engine.add_actions(shop.log)
        began = time.perf_counter()
        engine.build(until=NOW_TS_MS)
        built = time.perf_counter()
        report = dict(engine.train().metrics["ranker"])
    spent = {"built_s": built - began, "trained_s": time.perf_counter() - built}
    return report | {name: round(seconds, 1) for name, seconds in spent.items()}


def won_shares(report: dict[str, Any]) -> dict[str, float]:
    """Where the ranker would serve with a margin of 0: it gains by one standard error."""
    gains = report["gain_by_regime"]
    return {name: share for name, share in report["regimes"].items() if gains[name][1] > 0}


class Sequence:
    """Stands for ``ServedGeneration.tokens``: what the ranker reads of a person's actions.

    Attributes
    ----------
    until_ts_ms : int or None
        Where it reads what was held: the newest action it may know of.
    """

    def __init__(self, tokens: Callable[[int, int | None], Any], reads: str) -> None:
        self._tokens, self._reads = tokens, reads
        self.until_ts_ms: int | None = None

    def __call__(self, user_key: int, at_ts_ms: int | None) -> Any:
        """Give the newest actions, those of before, or none."""
        if self._reads == "nothing":
            return self._tokens(NOBODY, at_ts_ms)
        held = self._reads == "held" and self.until_ts_ms is not None
        return self._tokens(user_key, self.until_ts_ms if held else at_ts_ms)


class Asked:
    """One arm: an open engine whose ranker has its share and reads its sequence."""

    def __init__(self, engine: wayline.Engine, arm: Arm, won: dict[str, float]) -> None:
        self._engine = engine
        served: Any = (
            engine._serving.generation()
        )  # no setting gives a ranker another share or sequence
        self._sequence = served.tokens = Sequence(served.tokens, arm.reads)
        if served.learned is not None:
            shares = won if arm.share == "won" else dict.fromkeys(REGIMES, 1.0)
            served.learned.ranker = served.learned.ranker.serving_in(shares)

    def feed(self, guest: Guest, *, after: bool) -> Feed:
        """Ask for a guest's first or second feed."""
        self._sequence.until_ts_ms = guest.at_ts_ms if after else None
        at = guest.at_ts_ms + (NEXT_MS if after else 0)
        feed = self._engine.feed(guest.user_id, limit=LIMIT, at=at)
        for _ in range(TRIES):
            if not feed.degraded:
                break
            feed = self._engine.feed(guest.user_id, limit=LIMIT, at=at)
        return feed


def ask(shop: Shop, base: Path, won: dict[str, float], *, quick: bool) -> dict[str, Any]:
    """Ask every arm for everybody's two feeds, the latest person first."""
    guests = sorted(shop.guests, key=lambda guest: -guest.at_ts_ms)
    topic = dict(zip(shop.world.item_ids, shop.world.topic.tolist(), strict=True))
    rows: list[dict[str, Any]] = []
    degraded = leaks = 0
    with ExitStack() as stack:
        arms = {}
        for name, arm in ARMS.items():
            config = settings(shop, mode="off" if arm.share == "none" else "auto", quick=quick)
            engine = stack.enter_context(wayline.open(base, config=config))
            arms[name] = Asked(engine, arm, won)
        undisturbed = [_shown(arms["full"].feed(guest, after=False)) for guest in guests]
        for guest, expected in zip(guests, undisturbed, strict=True):
            before = {name: asked.feed(guest, after=False) for name, asked in arms.items()}
            leaks += _shown(before["full"]) != expected
            engine.add_actions([dict(row) for row in guest.actions])
            after = {name: asked.feed(guest, after=True) for name, asked in arms.items()}
            for name in arms:
                degraded += bool(before[name].degraded) + bool(after[name].degraded)
                rows.append(
                    {
                        "user_id": guest.user_id,
                        "kind": guest.kind,
                        "length": guest.length,
                        "arm": name,
                        "before": topic_share(before[name], guest, topic),
                        "after": topic_share(after[name], guest, topic),
                        "ranked": float(bool(after[name].items[0].probabilities)),
                    }
                )
    return {"rows": rows, "degraded": degraded, "leaks": leaks}


def _shown(feed: Feed) -> list[str]:
    return [item.item_id for item in feed.items]


def topic_share(feed: Feed, guest: Guest, topic: dict[str, int]) -> float:
    """Give the share of the places that a guest's topic has, without the two items they act on."""
    own = {row["item_id"] for row in guest.actions}
    shown = [item_id for item_id in _shown(feed) if item_id not in own]
    return sum(topic[item_id] == guest.topic for item_id in shown) / max(len(shown), 1)


def compare(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the arms side by side for each kind and length; intervals are bootstraps over people."""
    frame = pl.DataFrame(rows).sort("user_id", "arm")
    out: dict[str, Any] = {}
    columns: dict[tuple[str, str], dict[str, dict[str, np.ndarray]]] = {}
    for kind in KINDS:
        for length in LENGTHS:
            part = frame.filter(kind=kind, length=length)
            found = {
                arm: {name: part.filter(arm=arm)[name].to_numpy() for name in FIGURES}
                for arm in ARMS
            }
            columns[kind, length] = found
            out[f"{kind}, {length}"] = {
                "people": len(found["recipe"]["before"]),
                "arms": {arm: _figures(values) for arm, values in found.items()},
                "differences": {f"{a} - {b}": _gain(found[a], found[b]) for a, b in PAIRS},
            }
    out["short - long"] = {
        kind: {
            "rise": {
                arm: apart(*(_rise(columns[kind, length][arm]) for length in LENGTHS)).to_dict()
                for arm in ARMS
            },
            "differences": {
                f"{a} - {b}": apart(
                    *(_rise(columns[kind, n][a]) - _rise(columns[kind, n][b]) for n in LENGTHS)
                ).to_dict()
                for a, b in PAIRS
            },
        }
        for kind in KINDS
    }
    return out


def _rise(values: dict[str, np.ndarray]) -> np.ndarray:
    return values["after"] - values["before"]


def _figures(values: dict[str, np.ndarray]) -> dict[str, Any]:
    lift = ratio_lift(values["after"], values["before"])
    factor = Interval(lift.value + 1, lift.low + 1, lift.high + 1)
    return {
        "before": bootstrap(values["before"]).to_dict(),
        "after": bootstrap(values["after"]).to_dict(),
        "factor": factor.to_dict() if values["before"].any() else None,
        "rise": paired_difference(values["after"], values["before"]).interval.to_dict(),
        "ranked": float(values["ranked"].mean()),
    }


def _gain(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, Any]:
    rise = paired_difference(_rise(mine), _rise(theirs))
    after = paired_difference(mine["after"], theirs["after"])
    return {
        "rise": rise.interval.to_dict(),
        "rise_clear": rise.clear,
        "after": after.interval.to_dict(),
    }


def apart(a: np.ndarray, b: np.ndarray) -> Interval:
    """Give the difference of the means of two groups of people, with its 95 % bootstrap interval."""
    means = resampled_means(a, seed=0) - resampled_means(b, seed=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(a.mean() - b.mean()), float(low), float(high))


def render(report: dict[str, Any]) -> list[Table]:
    """One line for each kind, length and arm; then the differences."""
    shares = Table(
        "people", "arm", "before", "after", "factor", "rise", "ranked",
        title="A topic never touched, before and after two actions on it",
    )  # fmt: skip
    differences = Table("rise of", *(f"{kind}, {n}" for kind in KINDS for n in LENGTHS))
    groups = [f"{kind}, {length}" for kind in KINDS for length in LENGTHS]
    for group in groups:
        for arm, row in report[group]["arms"].items():
            named = f"{group} ({report[group]['people']})" if arm == "recipe" else ""
            factor = "-" if row["factor"] is None else _text(row["factor"], 1)
            texts = (f"{row[name]['value']:.3f}" for name in ("before", "after"))
            shares.add_row(named, arm, *texts, factor, _text(row["rise"]), f"{row['ranked']:.2f}")
    for a, b in PAIRS:
        pair = f"{a} - {b}"
        differences.add_row(pair, *(_text(report[g]["differences"][pair]["rise"]) for g in groups))
    lengths = Table("short - long, rise of", *KINDS)
    for arm in ARMS:
        lengths.add_row(arm, *(_text(report["short - long"][kind]["rise"][arm]) for kind in KINDS))
    for a, b in PAIRS:
        pair = f"{a} - {b}"
        lengths.add_row(
            pair, *(_text(report["short - long"][kind]["differences"][pair]) for kind in KINDS)
        )
    return [shares, differences, lengths]


def _text(interval: dict[str, float], digits: int = 3) -> str:
    value, low, high = (
        "∞" if interval[name] > 1e6 else f"{interval[name]:.{digits}f}"
        for name in ("value", "low", "high")
    )
    return f"{value} ({low}..{high})"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Ask every arm, print tables, write ``results/responsiveness.json``."""
    parser = argparse.ArgumentParser(description="Does the very next feed follow?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--people", type=int, default=12, help="of each kind and length, a seed")
    parser.add_argument("--quick", action="store_true", help="few people, a small training")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    seeds, people = (1, 4) if args.quick else (args.seeds, args.people)
    began = time.perf_counter()
    shop = make_shop(seeds, people)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        training = make_base(shop, base, quick=args.quick)
        training.pop("card")
        won = won_shares(training)
        asked_s = time.perf_counter()
        asked = ask(shop, base, won, quick=args.quick)
    report = compare(asked["rows"])
    out = {
        "seeds": seeds,
        "people_of_each": seeds * people,
        "topics": len(shop.world.names),
        "won": won,
        "training": training,
        "leaks": asked["leaks"],
        "degraded": asked["degraded"],
        "asked_s": round(time.perf_counter() - asked_s, 1),
        "total_s": round(time.perf_counter() - began, 1),
        "groups": report,
        "rows": asked["rows"],
    }
    if not args.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(out) + "\n", "utf-8")
    if args.json:
        print(json.dumps({k: v for k, v in out.items() if k != "rows"}))
    else:
        console = Console()
        for table in render(report):
            console.print(table)
        console.print(
            f"The ranker's share: {won or 'none'}; gains {training['gain_by_regime']}. "
            f"First feeds that others' actions reached: {asked['leaks']}; degraded: {asked['degraded']}."
        )
    return out


if __name__ == "__main__":
    main()
