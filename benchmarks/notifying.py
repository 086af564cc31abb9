"""Who is told what: journeys against interests and chance, and a ranker that learns from answers against its prior.

    python benchmarks/notifying.py [--quick] [--seeds 4] [--people 30] [--weeks 12] [--repeat-days 30]
    python benchmarks/notifying.py --seeds 8 --budget .25 --arms journeys "journeys, prior"

People with planted lives (``wayline/evaluation/simulated_notifications.py``) live among 1,000 real ones of the packaged
shop, whose actions alone made the items' vectors: as in a shop of millions nobody's own actions move
them. Once a week each may be told one thing, never the same within ``--repeat-days``; every arm has the same caps, the
same times, and meets the same people in the same luck, in a copy of one built workspace. What people do by themselves
and after a click goes into the log, and every third week the journeys are rebuilt.

Journeys are told by ``Engine.notifying().send``: planned, kept, delivered into a file. Interests are those of
``Engine.interests``, with the items nearest to the medoid that the person does not have. Chance draws a topic or a
journey of the person's own history. With a budget only that share of the people may be told a week, those of the
highest scores: there a ranker has more to decide than which of one or two journeys somebody hears of.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS, HOUR_MS
from wayline.datasets import online_retail
from wayline.evaluation.intervals import resampled_means
from wayline.evaluation.planted import EVERGREEN, Planting, plant
from wayline.evaluation.simulated_notifications import (
    NOTHING,
    Answers,
    Listener,
    Moods,
    Row,
    Told,
    notify_people,
)
from wayline.evaluation.simulated_world import World, make_world, topics_of_titles
from wayline.evaluation.simulator import SimulatedClock

RESULTS = Path(__file__).parent / "results" / "notifying.json"
REAL_PEOPLE = 1000
FIRST_DAY = 210  # of the planted year: when the first notification goes out
EVERY = 3  # weeks between two rebuilds
ITEMS = 4
PLANTING = Planting(journeys=(5, 10), items=(3.0, 12.0))  # topics keep items that are new to people
ALIKE = "all alike"
MOODS = {
    ALIKE: Moods(),
    "plans want a word": Moods(situational=1.0, evergreen=0.4),
    "habits want a word": Moods(situational=0.4, evergreen=1.0),
}


@dataclass(frozen=True)
class Cast:
    """Everybody, the world they live in, and their luck."""

    world: World
    people: list[Listener]
    luck: Any
    slots: list[int]
    log: pl.DataFrame

    @property
    def since_ts_ms(self) -> int:
        """What is in the workspace at the start."""
        return self.slots[0] - DAY_MS


def make_cast(seeds: Sequence[int], people: int, weeks: int) -> tuple[Cast, pl.DataFrame]:
    """Draw everybody."""
    data = online_retail()
    items, log = pl.read_parquet(data.items), pl.read_parquet(data.actions).sort("ts")
    topics = topics_of_titles(items, clusters=100, smallest=25)
    counts = dict(log["item_id"].value_counts().iter_rows())
    users = log["user_id"].unique().sort()
    chosen = np.random.default_rng(0).choice(len(users), REAL_PEOPLE, replace=False)
    log = log.filter(pl.col("user_id").is_in(users[np.sort(chosen)].to_list()))
    start = int(log["ts"].max()) // DAY_MS * DAY_MS - 360 * DAY_MS  # type: ignore[arg-type]
    listeners, luck = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        world = make_world(items["item_id"].to_list(), topics, counts, rng)
        for number in range(people):
            person = plant(world, f"told-{seed}-{number}", rng, start_ts_ms=start, how=PLANTING)
            listeners.append(Listener.draw(person, rng))
        luck.append(rng.random((people, weeks, 3)))
    noon = start + FIRST_DAY * DAY_MS + 12 * HOUR_MS
    # A little more than a week apart: a cap of one a week is about the last seven days.
    slots = [noon + week * (7 * DAY_MS + HOUR_MS // 2) for week in range(weeks)]
    return Cast(world, listeners, np.concatenate(luck), slots, log), items


def settings(repeat_days: float, ranker: str = "learned") -> dict[str, dict[str, Any]]:
    """The defaults; one notification a week at noon."""
    return {
        "actions": {"buy": 1.0, "return": -1.0, "view": 0.2},
        "recipe": {"mode": "plain"},
        "journeys": {"ranker": ranker, "limit": 50},
        "notifications": {
            "quiet_hours": "", "cap_per_day": 1, "cap_per_week": 1, "repeat_days": repeat_days, "items": ITEMS,
        },
    }  # fmt: skip


def make_base(cast: Cast, items: pl.DataFrame, folder: Path, repeat_days: float) -> float:
    """Build the workspace that every arm starts from; gives the seconds."""
    began = time.perf_counter()
    rows = [row for one in cast.people for row in one.person.rows(cast.world, "buy")]
    with wayline.open(folder, create=True, config=settings(repeat_days)) as engine:
        engine.add_items(items)
        engine.add_actions(cast.log.filter(pl.col("ts") <= cast.since_ts_ms))
        engine.build()
        engine.add_actions([row for row in rows if row["ts"] <= cast.since_ts_ms])
        engine.build_journeys(learn=True)
    return round(time.perf_counter() - began, 1)


class Arm:
    """A notifier in its own copy of the workspace; ``choose`` is the way it decides."""

    learns = False

    def __init__(
        self, engine: wayline.Engine, clock: SimulatedClock, cast: Cast, repeat_days: float
    ) -> None:
        self.engine, self.clock, self.cast, self.repeat_days = engine, clock, cast, repeat_days
        self.limit: int | None = None
        self.rng = np.random.default_rng(7)
        self._when: dict[tuple[str, str], int] = {}

    def add_actions(self, actions: list[Row]) -> None:
        """Take actions in, and what real people did meanwhile."""
        self.engine.add_actions(actions)

    def tell(self, user_ids: Sequence[str], ts_ms: int) -> Mapping[str, Told]:
        """Tell each person the best that they were not told lately."""
        self.clock.forward(ts_ms)
        told = {}
        for user_id in user_ids:
            one = self.choose(user_id, ts_ms)
            if one is not None and len(one.items) >= 2:
                told[user_id] = one
                self._when[user_id, one.thing] = ts_ms
        return told

    def told_lately(self, user_id: str, thing: str, ts_ms: int) -> bool:
        """Whether a person was told of a thing within the days that it may not be repeated."""
        return ts_ms - self._when.get((user_id, thing), -(10**15)) < self.repeat_days * DAY_MS

    def choose(self, user_id: str, ts_ms: int) -> Told | None:
        """Decide what to tell one person."""
        raise NotImplementedError

    def has(self, user_id: str) -> set[str]:
        """What a person acted on."""
        return {action.item_id for action in self.engine.actions(user_id, limit=10_000)}


class ByJourneys(Arm):
    """The real way."""

    learns = True

    def tell(self, user_ids: Sequence[str], ts_ms: int) -> Mapping[str, Told]:
        """Plan, keep and deliver."""
        self.clock.forward(ts_ms)
        told: dict[str, Told] = {}

        def note(planned: Sequence[Any]) -> None:
            for one in planned:
                message = one.message
                items = [item["id"] for item in message.items]
                told[message.user_id] = Told(message.journey_id, items, message.id)

        self.engine.notifying().send(user_ids, limit=self.limit, on_planned=note)
        return told


class ByInterests(Arm):
    """The most important interest."""

    def choose(self, user_id: str, ts_ms: int) -> Told | None:
        """Take the first that was not told lately."""
        found = [
            one
            for one in self.engine.interests(user_id)
            if not self.told_lately(user_id, one.id, ts_ms)
        ]
        return self._around(user_id, self.pick(found)) if found else None

    def pick(self, found: list[Any]) -> Any:
        """Choose one."""
        return max(found, key=lambda one: one.importance)

    def _around(self, user_id: str, interest: Any) -> Told:
        has = self.has(user_id)
        near = self.engine.similar(interest.medoid, limit=100)
        fresh = [item.item_id for item in near if item.item_id not in has]
        return Told(interest.id, fresh[:ITEMS])


class BySampledInterests(ByInterests):
    """An interest drawn by importance and reward, as feeds do."""

    def pick(self, found: list[Any]) -> Any:
        """Draw one."""
        p = np.array([one.probability for one in found]) + 1e-12
        return found[int(self.rng.choice(len(found), p=p / p.sum()))]


class ByRandomTopic(Arm):
    """Items of a topic of the person's history, the topic as the simulator knows it."""

    def choose(self, user_id: str, ts_ms: int) -> Told | None:
        """Draw a topic, then items."""
        world, has = self.cast.world, self.has(user_id)
        row = {item_id: k for k, item_id in enumerate(world.item_ids)}
        topics = sorted(
            {int(world.topic[row[item_id]]) for item_id in has if item_id in row} - {-1}
        )
        topics = [k for k in topics if not self.told_lately(user_id, str(k), ts_ms)]
        if not topics:
            return None
        topic = int(self.rng.choice(topics))
        fresh = [world.item_ids[k] for k in world.items_of(topic) if world.item_ids[k] not in has]
        chosen = self.rng.permutation(fresh)[:ITEMS].tolist() if fresh else []
        return Told(str(topic), chosen)


class ByRandomJourney(Arm):
    """Any journey of the person, with the items that its own feed would show."""

    def choose(self, user_id: str, ts_ms: int) -> Told | None:
        """Draw a journey."""
        found = [
            one
            for one in self.engine.journeys(user_id, limit=50)
            if not self.told_lately(user_id, one.id, ts_ms)
        ]
        if not found:
            return None
        one = found[int(self.rng.integers(len(found)))]
        shown = self.engine.notifying().items_of(user_id, one, ITEMS)
        return Told(one.id, [item.id for item in shown])


ARMS: dict[str, tuple[type[Arm], str]] = {
    "journeys": (ByJourneys, "learned"),
    "journeys, actions alone": (ByJourneys, "actions"),
    "journeys, prior": (ByJourneys, "prior"),
    "top interest": (ByInterests, "prior"),
    "sampled interest": (BySampledInterests, "prior"),
    "random journey": (ByRandomJourney, "prior"),
    "random topic": (ByRandomTopic, "prior"),
}
RANKERS = ("journeys", "journeys, actions alone", "journeys, prior")


def live(
    cast: Cast,
    base: Path,
    name: str,
    moods: Moods,
    repeat_days: float,
    budget: float | None = None,
) -> tuple[Answers, list[Any]]:
    """Let everybody be told things by one arm, in a copy of the base."""
    kind, ranker = ARMS[name]
    work = base.with_name("telling")
    shutil.copytree(base, work)
    clock = SimulatedClock(cast.since_ts_ms)
    reports: list[Any] = []
    with wayline.open(work, config=settings(repeat_days, ranker), clock=clock) as engine:
        arm = kind(engine, clock, cast, repeat_days)
        arm.limit = None if budget is None else round(budget * len(cast.people))
        if arm.learns and ranker == "prior":
            engine.build_journeys(learn=True)

        def before(week: int, ts_ms: int) -> None:
            earlier = cast.since_ts_ms if week == 0 else cast.slots[week - 1]
            engine.add_actions(
                cast.log.filter(pl.col("ts").is_between(earlier, ts_ms, closed="right"))
            )
            if arm.learns and ranker != "prior" and week and week % EVERY == 0:
                report = engine.build_journeys(learn=True).metrics["journeys"][
                    "teller" if ranker == "learned" else "ranker"
                ]
                served = engine._serving.generation().journeys
                weights = (
                    {} if served is None else dict(engine._serving.generation().teller.weights)
                )
                reports.append({**report, "weights": weights})

        answers = notify_people(
            arm, cast.world, cast.people, cast.luck, cast.slots,
            since_ts_ms=cast.since_ts_ms, action="buy", moods=moods, before=before,
        )  # fmt: skip
    shutil.rmtree(work)
    return answers, reports


def compare(runs: Mapping[str, Answers], cast: Cast) -> dict[str, Any]:
    """Put the arms side by side; intervals are bootstraps over people."""
    counts = {
        name: np.stack([run.clicked.sum(axis=1), run.sent.sum(axis=1)], axis=1).astype(float)
        for name, run in runs.items()
    }
    out: dict[str, Any] = {}
    for name, run in runs.items():
        told = run.topic != NOTHING
        dead = told & (run.alive == 0)
        out[name] = {
            "sent_a_week": float(run.sent.mean()),
            "click_rate": _rate(counts[name]),
            "clicks_a_person": float(run.clicked.sum(axis=1).mean()),
            "dead_share": float(dead.sum() / max(told.sum(), 1)),
            "evergreen_share": _evergreen(run, cast),
            "later_half_click_rate": _later(run),
            "against": {
                other: _against(counts[name], counts[other]) for other in runs if other != name
            },
        }
    return out


def _later(run: Answers) -> float:
    half = run.sent.shape[1] // 2
    return float(run.clicked[:, half:].sum() / max(run.sent[:, half:].sum(), 1))


def _evergreen(run: Answers, cast: Cast) -> float:
    """Share of what was told and alive that is evergreen."""
    kinds = [{j.topic: j.kind for j in one.person.journeys} for one in cast.people]
    rows, weeks = np.nonzero(run.alive > 0)
    marks = [
        kinds[p].get(int(run.topic[p, w])) == EVERGREEN
        for p, w in zip(rows.tolist(), weeks.tolist(), strict=True)
    ]
    return float(np.mean(marks)) if marks else float("nan")


def _rate(pair: Any) -> dict[str, float]:
    means = resampled_means(pair)
    low, high = np.quantile(means[:, 0] / np.maximum(means[:, 1], 1e-9), [0.025, 0.975])
    value = pair[:, 0].sum() / max(pair[:, 1].sum(), 1.0)
    return {"value": float(value), "low": float(low), "high": float(high)}


def _against(mine: Any, theirs: Any) -> dict[str, Any]:
    """Differences of click rates and of clicks a person, people resampled together."""
    means = resampled_means(np.concatenate([mine, theirs], axis=1))
    rates = means[:, 0] / np.maximum(means[:, 1], 1e-9) - means[:, 2] / np.maximum(
        means[:, 3], 1e-9
    )
    clicks = means[:, 0] - means[:, 2]
    out = {}
    for name, values, value in (
        ("click_rate", rates, _rate(mine)["value"] - _rate(theirs)["value"]),
        ("clicks_a_person", clicks, float((mine[:, 0] - theirs[:, 0]).mean())),
    ):
        low, high = np.quantile(values, [0.025, 0.975])
        out[name] = {"value": value, "low": float(low), "high": float(high)}
    return out


def render(out: dict[str, Any]) -> list[Table]:
    """One table a mood, one line an arm."""
    tables = []
    for mood, report in out["moods"].items():
        table = Table(
            "arm", "sent a week", "click rate", "clicks a person", "about nothing alive", "journeys: rate minus this",
            "clicks a person minus this", title=f"Notifications: {mood}",
        )  # fmt: skip
        first = report["arms"]["journeys"]["against"]
        for name, row in report["arms"].items():
            minus = (
                [_text(first[name]["click_rate"]), _text(first[name]["clicks_a_person"], 2)]
                if name in first
                else ["-", "-"]
            )
            table.add_row(
                name, f"{row['sent_a_week']:.2f}", _text(row["click_rate"]),
                f"{row['clicks_a_person']:.2f}", f"{row['dead_share']:.3f}", *minus,
            )  # fmt: skip
        tables.append(table)
        if "rankers" in report:
            learned = report["rankers"]
            tables.append(_rankers(mood, learned))
    return tables


def _rankers(mood: str, learned: dict[str, Any]) -> Table:
    table = Table(
        "ranker", "decided", "answers", "weights that moved most", title=f"Learned: {mood}"
    )
    for name, reports in learned.items():
        for one in reports[-1:]:
            prior = wayline.journeys.ranking.PRIOR
            moved = sorted(one["weights"], key=lambda k: -abs(one["weights"][k] - prior[k]))[:4]
            said = ", ".join(f"{k} {prior[k]:.1f} → {one['weights'][k]:.1f}" for k in moved)
            table.add_row(name, one["decided"], str(one.get("answers", "-")), said)
    return table


def _text(interval: dict[str, float], digits: int = 3) -> str:
    value, low, high = (f"{interval[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low}..{high})"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run every arm, print tables, write ``results/notifying.json``."""
    parser = argparse.ArgumentParser(description="Who is told what, and what comes of it.")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0, help="others than 0 to develop on")
    parser.add_argument("--people", type=int, default=30, help="a seed")
    parser.add_argument("--weeks", type=int, default=12)
    parser.add_argument("--repeat-days", type=float, default=30.0)
    parser.add_argument(
        "--budget", type=float, help="share of the people who may be told a week: rankers alone"
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--moods", nargs="+", choices=MOODS, default=list(MOODS))
    parser.add_argument("--quick", action="store_true", help="one seed of six people, four weeks")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    seeds, people, weeks = (1, 6, 4) if args.quick else (args.seeds, args.people, args.weeks)
    drawn = range(args.first_seed, args.first_seed + seeds)
    began = time.perf_counter()
    cast, items = make_cast(drawn, people, weeks)
    out: dict[str, Any] = {"seeds": list(drawn), "people": people, "weeks": weeks, "moods": {}}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        out["built_s"] = make_base(cast, items, base, args.repeat_days)
        for mood in args.moods:
            # Where kinds are as welcome as each other the question is what to tell of; else what a ranker learns.
            both = (
                RANKERS
                if mood != ALIKE or args.budget
                else [n for n in ARMS if n not in RANKERS[1:]]
            )
            arms = [n for n in args.arms if n in both]
            found = {
                n: live(cast, base, n, MOODS[mood], args.repeat_days, args.budget) for n in arms
            }
            runs = {n: run for n, (run, _) in found.items()}
            out["moods"][mood] = {
                "arms": compare(runs, cast),
                "rankers": {n: reports for n, (_, reports) in found.items() if reports},
            }
    out["total_s"] = round(time.perf_counter() - began, 1)
    if not args.quick and args.first_seed == 0:
        target = RESULTS.with_stem("notifying-budget") if args.budget else RESULTS
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(out) + "\n", "utf-8")
    if args.json:
        print(json.dumps(out))
    else:
        console = Console(width=160)
        for table in render(out):
            console.print(table)
        console.print(f"{out['total_s']} s")
    return out


if __name__ == "__main__":
    main()
