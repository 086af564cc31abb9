"""An impression log with several heads: people with living interests look at feeds and view, buy or hide.

No public log holds impressions, refusals and long histories together. The people are those of
``wayline/evaluation/simulator.py``; what serves them is a plain logging policy that counts topics and so keeps showing
an interest after its death, which is what gets hidden. It shuffles its feeds: a place says nothing about an item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.clock import DAY_MS, to_ts_ms
from wayline.config import EmbeddingsConfig
from wayline.datasets import online_retail
from wayline.embeddings.build import Interactions, build_embeddings
from wayline.embeddings.text import item_text
from wayline.evaluation.simulated_people import Habits, Person, Row, changing_lives, make_person
from wayline.evaluation.simulated_run import Run
from wayline.evaluation.simulated_world import World, make_world, topics_of_titles
from wayline.evaluation.simulator import simulate

from .logs import DIM, RESULTS, Log
from .requests import TEST, TRAIN, VALIDATION, Shown, Sizes, Task

ACTIONS = ("view", "buy", "hide")
WEIGHTS = (1.0, 1.0, -1.0)
PLACES = 12
FEEDS = 44
HABITS = Habits(
    refuse_dead=0.35, refuse=0.01
)  # enough refusals to count; the simulator's own are .05 and .003


@dataclass(frozen=True)
class Answer:
    """A feed."""

    request_id: str
    items: list[Item]


@dataclass(frozen=True)
class Item:
    """One place of a feed."""

    item_id: str


class CountingPolicy:
    """Half of a feed from the topics that somebody acted on, by how often; the rest popular or at random."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.row = {item_id: k for k, item_id in enumerate(world.item_ids)}
        self.counts: dict[str, np.ndarray] = {}
        self.taken: dict[str, set[int]] = {}
        self.feeds: list[list[int]] = []
        self.popular = world.appeal**2 / (world.appeal**2).sum()

    def add_actions(self, actions: list[Row]) -> None:
        """Count what people did; refusals are not understood."""
        for row in actions:
            item = self.row[row["item_id"]]
            topic = int(self.world.topic[item])
            if row["action"] == "hide" or topic < 0:
                continue
            user = row["user_id"]
            self.counts.setdefault(user, np.zeros(len(self.world.names)))[topic] += 1
            self.taken.setdefault(user, set()).add(item)

    def feed(self, user_id: str, *, limit: int | None = None, at: object = None) -> Answer:
        """Twelve different items that the person has not taken, in random order."""
        wanted = limit or PLACES
        counts = self.counts.get(user_id)
        chosen: list[int] = []
        taken = self.taken.get(user_id, set())
        while len(chosen) < wanted:
            luck = self.rng.random()
            if luck < 0.5 and counts is not None:
                topic = int(self.rng.choice(len(counts), p=counts / counts.sum()))
                item = int(self.rng.choice(self.world.items_of(topic)))
            elif luck < 0.75:
                item = int(self.rng.choice(len(self.popular), p=self.popular))
            else:
                item = int(self.rng.integers(len(self.popular)))
            if item not in taken and item not in chosen:
                chosen.append(item)
        order = self.rng.permutation(chosen).tolist()
        self.feeds.append(order)
        items = [Item(self.world.item_ids[item]) for item in order]
        return Answer(f"r{len(self.feeds)}", items)


def simulated_task(sizes: Sizes, *, people: int, seed: int = 0) -> Task:
    """Let people live and make requests of their feeds.

    Parameters
    ----------
    sizes : Sizes
        ``candidates`` is the length of a feed, 12.
    people : int
        Each looks at 44 feeds in three weeks.
    """
    rng = np.random.default_rng(seed)
    data = online_retail()
    items, log = pl.read_parquet(data.items), pl.read_parquet(data.actions)
    counts = dict(log["item_id"].value_counts().iter_rows())
    world = make_world(items["item_id"].to_list(), topics_of_titles(items), counts, rng)
    start = to_ts_ms("2011-09-01")
    persons = [_person(world, number, rng, start) for number in range(people)]
    policy = CountingPolicy(world, np.random.default_rng(seed + 1))
    policy.add_actions([row for person in persons for row in person.history])
    run = simulate(policy, world, persons, rng, limit=PLACES, habits=HABITS)
    return _task(world, persons, policy, run, _vectors(items), sizes, rng)


def _person(world: World, number: int, rng: np.random.Generator, start: int) -> Person:
    """Interests that die and are born at moments of their own, so that every part of time holds some of each."""
    topics = rng.choice(len(world.names), 6, replace=False).tolist()
    death = int(rng.integers(3, FEEDS - 8))
    lives = changing_lives(topics, death=death, birth=int(rng.integers(4, FEEDS - 6)))
    return make_person(
        world, f"p{number}", lives, rng, start_ts_ms=start, feeds=FEEDS, habits=HABITS
    )


def _vectors(items: pl.DataFrame) -> np.ndarray:
    """Of the titles alone: the topics people think in are made of words, not of these vectors."""
    texts = [item_text(title) for title in items["title"].to_list()]
    none = np.zeros(0, np.int64)
    made = build_embeddings(
        texts,
        Interactions(none, none, none, none.astype(np.float32)),
        EmbeddingsConfig(kind="text", dim=DIM),
        cache_path=RESULTS / "simulated.npz",
    )
    return made.vectors


def _task(
    world: World,
    people: list[Person],
    policy: CountingPolicy,
    run: Run,
    vectors: np.ndarray,
    sizes: Sizes,
    rng: np.random.Generator,
) -> Task:
    rows = [row for person in people for row in person.history] + run.sent
    user_of = {person.user_id: k for k, person in enumerate(people)}
    log = Log(
        "simulated",
        ACTIONS,
        np.array([user_of[row["user_id"]] for row in rows]),
        np.array([policy.row[row["item_id"]] for row in rows]),
        np.array([row["ts"] for row in rows]),
        np.array([ACTIONS.index(row["action"]) + 1 for row in rows]),
        len(world.item_ids),
        vectors,
    )
    feeds = np.array(policy.feeds)
    label = np.stack([run.engaged, run.bought, run.hidden], axis=-1).astype(np.float32)
    passed = ~(run.engaged | run.hidden)
    shown = Shown(
        np.repeat(run.person, PLACES)[passed.ravel()],
        feeds[passed],
        np.repeat(run.ts_ms, PLACES)[passed.ravel()],
    )
    order = np.lexsort((shown.ts_ms, shown.user_idx))
    shown = Shown(shown.user_idx[order], shown.item_idx[order], shown.ts_ms[order])
    # what is labelled first, the rest in the feed's own random order: training reads the first six
    place = np.argsort(~label.any(axis=2), axis=1, kind="stable")
    feeds = np.take_along_axis(feeds, place, 1)
    label = np.take_along_axis(label, place[..., None], 1)
    keep, part = _parts(run.ts_ms, label.any(axis=(1, 2)), sizes, rng)
    return Task(
        log,
        ACTIONS,
        WEIGHTS,
        run.person[keep],
        run.ts_ms[keep],
        part,
        feeds[keep],
        label[keep],
        sizes.trained,
        shown=shown,
        negative_actions=(ACTIONS.index("hide") + 1,),
    )


def _parts(
    ts_ms: np.ndarray, labelled: np.ndarray, sizes: Sizes, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Feeds with a reaction, by time: 60 % for training less a day for late purchases, 10 %, the rest."""
    cuts = np.quantile(ts_ms, [0.6, 0.7])
    of = np.digitize(ts_ms, cuts)
    late = (of == TRAIN) & (ts_ms > cuts[0] - DAY_MS)
    keep, part = [], []
    for number in (TRAIN, VALIDATION, TEST):
        rows = rng.permutation(np.flatnonzero((of == number) & labelled & ~late))
        rows = np.sort(rows[: sizes.of(number)])
        keep.append(rows)
        part.append(np.full(len(rows), number))
    return np.concatenate(keep), np.concatenate(part).astype(np.int64)
