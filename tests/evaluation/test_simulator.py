"""People with living interests: seeded, scripted, honest about time, and driving the public API alone."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

import wayline
from wayline.clock import DAY_MS, HOUR_MS
from wayline.evaluation.simulated_people import (
    SEARCHES_AT_BIRTH,
    WORTHS,
    Habits,
    Life,
    Person,
    changing_lives,
    make_person,
    recipes_and_furniture,
)
from wayline.evaluation.simulated_run import NOTHING, Run, exposure, feeds_until_half
from wayline.evaluation.simulated_world import (
    World,
    make_world,
    topics_of_tags,
    topics_of_titles,
)
from wayline.evaluation.simulator import Service, SimulatedClock, simulate
from wayline.server.app import create_app

START = 1_600_000_000_000
KINDS = ("mug", "lamp", "scarf", "clock", "tray", "candle", "kite")
EACH = 40
LIMIT = 20
DEATH, BIRTH, FEEDS = 8, 14, 24


def made_world(seed: int = 0) -> World:
    """Seven topics of forty items, and forty of none."""
    topics = {kind: [f"{kind}-{n}" for n in range(EACH)] for kind in KINDS}
    ids = [item_id for kind in (*KINDS, "thing") for item_id in topics.get(kind, _things())]
    return make_world(ids, topics, {}, np.random.default_rng(seed))


def _things() -> list[str]:
    return [f"thing-{n}" for n in range(EACH)]


@dataclass(frozen=True)
class Answer:
    """A feed."""

    request_id: str
    items: Sequence[Any]


class Shelf:
    """A service that shows items at random, and keeps what it was asked and told in turn."""

    def __init__(self, item_ids: Sequence[str], seed: int = 1) -> None:
        self._ids, self._rng = list(item_ids), np.random.default_rng(seed)
        self.told: list[tuple[str, Any]] = []

    def feed(self, user_id: str, *, limit: int | None = None, at: Any = None) -> Answer:
        """Twenty of them."""
        shown = self._rng.choice(self._ids, limit, replace=False).tolist()
        request_id = f"request-{len(self.told)}"
        self.told.append(("feed", (user_id, at, request_id)))
        return Answer(request_id, [SimpleNamespace(item_id=i) for i in shown])

    def add_actions(self, actions: list[dict[str, Any]]) -> None:
        """Keep them."""
        self.told.append(("actions", actions))


def people_of(
    world: World, rng: np.random.Generator, count: int = 6, feeds: int = FEEDS
) -> list[Person]:
    lives = changing_lives(range(6), death=DEATH, birth=BIRTH)
    return [
        make_person(world, f"p{n}", lives, rng, start_ts_ms=START, feeds=feeds)
        for n in range(count)
    ]


def run_on(service: Service, seed: int = 0, count: int = 6, feeds: int = FEEDS) -> Run:
    rng = np.random.default_rng(seed)
    world = made_world()
    return simulate(service, world, people_of(world, rng, count, feeds), rng)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf(made_world().item_ids)


@pytest.fixture(scope="module")
def run(shelf: Shelf) -> Run:
    """Forty people before shelves of random items."""
    return run_on(shelf, count=40)


def requests(shelf: Shelf) -> dict[str, tuple[str, int]]:
    """Who asked when."""
    feeds = [what for kind, what in shelf.told if kind == "feed"]
    return {request_id: (user_id, at) for user_id, at, request_id in feeds}


# -- the same seed, the same run ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    one, again, other = (run_on(Shelf(made_world().item_ids), seed) for seed in (0, 0, 1))
    for name in ("person", "feed", "ts_ms", "topic", "looked", "engaged", "bought", "hidden"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert one.sent == again.sent
    assert one.sent != other.sent


def test_two_services_meet_the_same_people_in_the_same_mood() -> None:
    ids = made_world().item_ids
    one, other = run_on(Shelf(ids, seed=1)), run_on(Shelf(ids, seed=2))
    np.testing.assert_array_equal(one.ts_ms, other.ts_ms)
    np.testing.assert_array_equal(one.looked, other.looked)  # where they look is their luck alone
    assert (one.topic != other.topic).any()
    searched = [[a for a in r.sent if a["surface"] == "search"] for r in (one, other)]
    assert searched[0] == searched[1]


# -- lives -------------------------------------------------------------------------------------------------------------


def test_the_history_follows_the_strengths_and_ends_before_the_first_feed() -> None:
    world, rng = made_world(), np.random.default_rng(0)
    lives = changing_lives(range(6), death=DEATH, birth=BIRTH)
    person = make_person(world, "p", lives, rng, start_ts_ms=START, feeds=FEEDS, history=4000)
    kinds = [row["item_id"].split("-")[0] for row in person.history]
    strength = np.array([1.0, 0.6, 0.5, 0.4, 0.15, 0.0])
    expected = strength / strength.sum()
    share = [kinds.count(world.names[k]) / len(kinds) for k in range(6)]
    np.testing.assert_allclose(share, expected, atol=0.03)
    ts_ms = [row["ts"] for row in person.history]
    assert ts_ms == sorted(ts_ms)
    assert ts_ms[-1] < START <= person.feed_ts_ms[0]


def test_an_interest_dies_grows_and_is_born_when_the_script_says_so(run: Run) -> None:
    rate = np.zeros((FEEDS, 7))
    for feed in range(FEEDS):
        rows = run.feed == feed
        for topic in range(7):
            looked = run.looked[rows] & (run.topic[rows] == topic)
            rate[feed, topic] = run.engaged[rows][looked].mean()
    dying, growing, new, never = rate[:, 0], rate[:, 4], rate[:, 5], rate[:, 6]
    assert dying[:DEATH].mean() > 0.2
    assert dying[DEATH:].mean() < 0.03
    assert growing[:DEATH].mean() < 0.12
    assert growing[-6:].mean() > 0.2
    assert new[:BIRTH].mean() < 0.03
    assert new[-6:].mean() > 0.2
    assert never.mean() < 0.03


def test_searches_come_from_living_interests_and_make_a_new_one_known(run: Run) -> None:
    birth = [int(run.ts_ms[(run.person == n) & (run.feed == BIRTH)][0]) for n in range(40)]
    death = [int(run.ts_ms[(run.person == n) & (run.feed == DEATH)][0]) for n in range(40)]
    names = made_world().names
    searches = [a for a in run.sent if a["surface"] == "search"]
    assert all("request_id" not in a for a in searches)
    for n in range(40):
        mine = [a for a in searches if a["user_id"] == f"p{n}"]
        new = [a["ts"] for a in mine if a["item_id"].startswith(names[5])]
        assert all(ts > birth[n] for ts in new)
        assert sum(ts <= birth[n] + HOUR_MS for ts in new) >= SEARCHES_AT_BIRTH
        old = [a["ts"] for a in mine if a["item_id"].startswith(names[0])]
        assert all(ts < death[n] + HOUR_MS for ts in old)


def test_dislikes_are_mostly_for_dead_interests(run: Run) -> None:
    dead = run.looked & (run.topic == 0) & (run.feed >= DEATH)[:, None]
    others = run.looked & ~dead
    assert run.hidden[dead].mean() > 5 * run.hidden[others].mean() > 0
    hides = [a for a in run.sent if a["action"] == "hide"]
    assert len(hides) == run.hidden.sum()
    assert WORTHS["hide"] < 0


# -- what a feed does to people ----------------------------------------------------------------------------------------


def test_places_further_down_are_looked_at_and_engaged_with_less(run: Run) -> None:
    looked, engaged = run.looked.mean(axis=0), run.engaged.mean(axis=0)
    assert looked[0] == 1.0
    np.testing.assert_allclose(looked, (1 + np.arange(LIMIT)) ** -0.5, atol=0.06)
    assert engaged[:5].mean() > 1.5 * engaged[-5:].mean()


def test_an_interest_just_fed_tires_and_recovers() -> None:
    world, rng = made_world(), np.random.default_rng(0)
    lives = [Life(0, (-1,), (1.0,))]
    people = [
        make_person(world, f"p{n}", lives, rng, start_ts_ms=START, feeds=4) for n in range(150)
    ]
    mugs = [world.item_ids[k] for k in world.items_of(0)]
    run = simulate(Shelf(mugs), world, people, rng, habits=Habits(again=1.0, tire=0.3))
    first, second, next_day, after = run.engagements()
    assert second < 0.7 * first  # ten minutes later
    assert next_day > 1.2 * second
    assert after < next_day


def test_an_item_shown_before_is_worth_less() -> None:
    world, rng = made_world(), np.random.default_rng(0)
    lives = [Life(0, (-1,), (1.0,))]
    people = [
        make_person(world, f"p{n}", lives, rng, start_ts_ms=START, feeds=12) for n in range(40)
    ]
    mugs = [world.item_ids[k] for k in world.items_of(0)]
    calm = Habits(tire=0.0)
    same = simulate(Shelf(mugs[:LIMIT]), world, people, rng, habits=calm)
    any_ = simulate(Shelf(mugs), world, people, rng, habits=calm)
    assert same.engagements()[6:].mean() < 0.6 * any_.engagements()[6:].mean()
    home = [(a["user_id"], a["item_id"]) for a in _home(same) if a["action"] == "view"]
    assert len(home) == len(set(home))  # what was taken is not taken again


# -- time --------------------------------------------------------------------------------------------------------------


def test_delayed_purchases_carry_their_own_request_and_a_later_time(shelf: Shelf, run: Run) -> None:
    asked = requests(shelf)
    views = {(a["request_id"], a["item_id"]): a for a in _home(run) if a["action"] == "view"}
    buys = [a for a in _home(run) if a["action"] == "buy"]
    assert len(buys) == run.bought.sum() > 100
    waits = []
    for buy in buys:
        view = views[buy["request_id"], buy["item_id"]]
        assert buy["user_id"] == view["user_id"] == asked[buy["request_id"]][0]
        assert buy["ts"] > view["ts"]
        waits.append(buy["ts"] - view["ts"])
    late = np.array(waits) > 600_000
    assert 0.35 < late.mean() < 0.65
    assert 3 < np.median(np.array(waits)[late]) / HOUR_MS < 8


def test_some_purchases_come_after_a_later_feed(shelf: Shelf, run: Run) -> None:
    asked = requests(shelf)
    behind = [
        buy
        for buy in _home(run)
        if buy["action"] == "buy"
        and any(
            user == buy["user_id"] and asked[buy["request_id"]][1] < at < buy["ts"]
            for user, at in asked.values()
        )
    ]
    assert len(behind) > 10


def test_nothing_is_sent_with_a_time_before_its_feed_or_after_its_sending(
    shelf: Shelf, run: Run
) -> None:
    asked = requests(shelf)
    now, last = 0, 0
    for kind, what in shelf.told:
        if kind == "feed":
            now = what[1]
            assert last <= now
            continue
        for action in what:
            assert action["ts"] >= last  # in the order of time
            last = action["ts"]
            if "request_id" in action:
                user, at = asked[action["request_id"]]
                assert action["ts"] > at
                assert user == action["user_id"]
    assert [a for kind, what in shelf.told if kind == "actions" for a in what] == run.sent


def test_everything_due_is_sent_before_the_next_feed(shelf: Shelf, run: Run) -> None:
    sent_after = 0
    at = [what[1] if kind == "feed" else None for kind, what in shelf.told]
    for place, (kind, what) in enumerate(shelf.told):
        if kind == "actions":
            earlier = [t for t in at[:place] if t is not None]
            sent_after += any(action["ts"] <= earlier[-1] for action in what if earlier)
    assert sent_after == 0


def test_the_clock_moves_with_the_people_and_never_back() -> None:
    clock = SimulatedClock(START)
    seen: list[int] = []

    class Watch(Shelf):
        def feed(self, user_id: str, *, limit: int | None = None, at: Any = None) -> Answer:
            assert at is None
            seen.append(clock())
            return super().feed(user_id, limit=limit)

    world, rng = made_world(), np.random.default_rng(0)
    run = simulate(Watch(world.item_ids), world, people_of(world, rng), rng, clock=clock)
    assert seen == run.ts_ms.tolist() == sorted(seen)
    with pytest.raises(ValueError, match="not before"):
        clock.forward(START)


def test_nights_come_at_midnight_between_the_feeds() -> None:
    nights: list[int] = []
    world, rng = made_world(), np.random.default_rng(0)
    people = people_of(world, rng, count=2, feeds=8)
    run = simulate(Shelf(world.item_ids), world, people, rng, nightly=nights.append)
    assert all(night % DAY_MS == 0 for night in nights)
    assert run.ts_ms[0] < nights[0]
    assert nights[-1] <= run.ts_ms[-1]
    assert len(nights) == len(set((run.ts_ms // DAY_MS).tolist())) - 1


def _home(run: Run) -> list[dict[str, Any]]:
    return [a for a in run.sent if a["surface"] == "home"]


# -- figures -----------------------------------------------------------------------------------------------------------


def test_shares_count_the_places_of_each_persons_own_topic() -> None:
    topic = np.array([[0, 0, 1, -1], [2, 1, NOTHING, NOTHING]])
    marks = np.zeros((2, 4), bool)
    made = Run(np.array([0, 1]), np.array([0, 0]), np.array([5, 6]), topic, *[marks] * 4)
    np.testing.assert_allclose(made.share([0, 2]), [0.5])  # half of the one, half of the other


def test_one_low_feed_is_no_departure_and_a_feed_that_stays_full_is_censored() -> None:
    share = np.full(40, 0.4)
    share[12] = 0.0
    assert feeds_until_half(share, 10).censored
    share[20:] = 0.15
    left = feeds_until_half(share, 10)
    assert (left.censored, left.before) == (False, pytest.approx(0.4))
    assert 7 <= left.feeds <= 10


def test_exposure_is_read_after_the_feed_of_the_birth() -> None:
    assert exposure(np.array([0.0, 0.0, 0.2, 0.4, 0.9]), birth=1, span=2) == pytest.approx(0.3)


def test_topics_come_from_titles_and_keep_a_workable_size() -> None:
    rows = [{"item_id": f"{k}{n}", "title": f"RED {k} NO {n}"} for k in KINDS for n in range(20)]
    rows += [{"item_id": f"x{n}", "title": "spoon"} for n in range(5)]
    found = topics_of_titles(pl.DataFrame(rows), clusters=8, smallest=10, largest=30)
    assert {frozenset(ids) for ids in found.values()} == {
        frozenset(f"{k}{n}" for n in range(20)) for k in KINDS
    }


def test_topics_come_from_the_rarest_tag() -> None:
    items = pl.DataFrame(
        {"item_id": ["a", "b", "c", "d"], "tags": [["drama"], ["drama", "noir"], ["noir"], None]}
    )
    items = pl.concat([items, pl.DataFrame({"item_id": ["e"], "tags": [["drama"]]})])
    found = topics_of_tags(items, smallest=1, largest=9)
    assert {name: sorted(ids) for name, ids in found.items()} == {
        "drama": ["a", "e"],
        "noir": ["b", "c"],
    }


# -- a real engine -----------------------------------------------------------------------------------------------------


def made_shop(people: Sequence[Person], world: World, folder: Path) -> Path:
    """A built workspace: items of the world, three hundred strangers' actions, the people's histories."""
    rng = np.random.default_rng(3)
    config = {
        "actions": WORTHS,
        "embeddings": {"kind": "graph", "dim": 16},
        "recipe": {"mode": "plain"},
    }
    rows = []
    for stranger in range(120):
        for _ in range(12):
            kind = KINDS[(stranger + int(rng.integers(2))) % len(KINDS)]
            ts = START - int(rng.integers(1, 40 * DAY_MS))
            item = f"{kind}-{int(rng.integers(EACH))}"
            rows.append({"user_id": f"s{stranger}", "item_id": item, "ts": ts, "action": "buy"})
    with wayline.open(folder, create=True, config=config) as engine:
        engine.add_items([{"item_id": i, "title": i.replace("-", " ")} for i in world.item_ids])
        engine.add_actions(rows + [row for p in people for row in p.history])
        engine.build()
    return folder


@pytest.fixture(scope="module")
def cast() -> tuple[World, list[Person]]:
    """Two people with changing lives."""
    world = made_world()
    return world, people_of(world, np.random.default_rng(5), count=2)


@pytest.fixture(scope="module")
def shop(
    cast: tuple[World, list[Person]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[wayline.Engine, SimulatedClock]]:
    world, people = cast
    folder = made_shop(people, world, tmp_path_factory.mktemp("living") / "shop")
    clock = SimulatedClock(START)
    with wayline.open(folder, config={"actions": WORTHS}, clock=clock) as engine:
        yield engine, clock


@pytest.fixture(scope="module")
def lived(cast: tuple[World, list[Person]], shop: tuple[wayline.Engine, SimulatedClock]) -> Run:
    world, people = cast
    engine, clock = shop
    rng = np.random.default_rng(7)
    return simulate(engine, world, people, rng, clock=clock, settle=engine.request)


def test_an_engine_is_a_service_and_knows_every_request_and_action(
    shop: tuple[wayline.Engine, SimulatedClock], lived: Run, cast: tuple[World, list[Person]]
) -> None:
    engine, _ = shop
    _, people = cast
    for row in range(0, len(lived.feed), 7):
        request = engine.request(lived.request_ids[row])
        assert request["user_id"] == people[lived.person[row]].user_id
        assert request["ts_ms"] == lived.ts_ms[row]
        assert len(request["impressions"]) == (lived.topic[row] != NOTHING).sum()
    for person in people:
        kept = engine.actions(person.user_id, limit=10_000)
        mine = [a for a in lived.sent if a["user_id"] == person.user_id]
        assert len(kept) == len(person.history) + len(mine)
        newest = {(a.item_id, a.action, a.ts, a.request_id) for a in kept}
        for a in mine:
            assert (a["item_id"], a["action"], a["ts"], a.get("request_id")) in newest


def test_feeds_turn_from_recipes_without_engagement_to_furniture_and_faster_with_rewards(
    tmp_path: Path,
) -> None:
    world, rng = made_world(), np.random.default_rng(5)
    readers = [
        make_person(
            world, f"r{n}", recipes_and_furniture(0, 1), rng,
            start_ts_ms=START, feeds=16, history=40,
        )
        for n in range(4)
    ]  # fmt: skip
    base = made_shop(readers, world, tmp_path / "base")
    recipes, furniture = {}, {}
    for arm in ("reward", "count"):
        folder = tmp_path / arm
        shutil.copytree(base, folder)
        clock = SimulatedClock(START)
        config = {"actions": WORTHS, "rewards": {"sampling": arm}}
        with wayline.open(folder, config=config, clock=clock) as engine:
            run = simulate(
                engine, world, readers, np.random.default_rng(7),
                clock=clock, settle=engine.request, habits=Habits(refuse_dead=0.0),
            )  # fmt: skip
        recipes[arm], furniture[arm] = run.share([0] * 4), run.share([1] * 4)
        assert recipes[arm][0] > 10 * furniture[arm][0]  # as the histories have it
    assert recipes["reward"][-6:].mean() < 0.5 * recipes["count"][-6:].mean()
    turn = slice(2, 8)  # in the end both have turned
    assert recipes["reward"][turn].mean() < recipes["count"][turn].mean()
    assert furniture["reward"][turn].mean() > 1.3 * furniture["count"][turn].mean()


def test_a_client_of_the_rest_api_is_a_service(
    shop: tuple[wayline.Engine, SimulatedClock], lived: Run
) -> None:
    engine, _ = shop

    class Client:
        def __init__(self, http: TestClient) -> None:
            self._http = http

        def feed(self, user_id: str, *, limit: int | None = None, at: Any = None) -> Answer:
            got = self._http.get(f"/v1/users/{user_id}/feed", params={"limit": limit, "at": at})
            assert got.status_code == 200, got.text
            items = [SimpleNamespace(item_id=i["item_id"]) for i in got.json()["items"]]
            return Answer(got.json()["request_id"], items)

        def add_actions(self, actions: list[dict[str, Any]]) -> None:
            got = self._http.post("/v1/actions", json=actions)
            assert got.json()["accepted"] == len(actions), got.text

    world, rng = made_world(), np.random.default_rng(0)
    guest = make_person(world, "guest", [Life(2, (-1,), (1.0,))], rng, start_ts_ms=START, feeds=4)
    with TestClient(create_app(engine)) as http:
        run = simulate(Client(http), world, [guest], rng)
    assert (run.topic != NOTHING).all()
    assert len(engine.actions("guest")) == len(run.sent)


# -- the benchmark -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def living() -> ModuleType:
    """``benchmarks/living.py``."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "living.py"
    spec = importlib.util.spec_from_file_location("living_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_puts_the_ways_of_sampling_side_by_side_on_the_same_people(
    living: ModuleType, cast: tuple[World, list[Person]], tmp_path: Path
) -> None:
    world, _ = cast
    topics = {name: [world.item_ids[k] for k in world.items_of(n)] for n, name in enumerate(KINDS)}
    items = pl.DataFrame({"item_id": world.item_ids, "title": world.item_ids})
    log = pl.DataFrame({"user_id": "s", "item_id": world.item_ids, "action": "buy"}).with_columns(
        ts=START - 1 - pl.int_range(pl.len()) * HOUR_MS
    )
    shop = living.Shop(items, log, topics, {"buy": 1.0}, START)
    made = living.make_seeds(shop, seeds=2, people=1, feeds=36)
    living.make_base(shop, made, tmp_path / "base")
    runs = {
        arm: [
            living.read(living.live(shop, seed, tmp_path / "base", arm, 0), seed.people)
            for seed in made
        ]
        for arm in ("reward", "count")
    }
    report = living.compare(runs)
    assert set(report) == {"reward", "count"}
    assert "count" in report["reward"]["against"]
    assert report["count"]["engagements_before"]["value"] > 0
    assert living.render(report, floor=0.02).row_count == 12
    again = living.read(living.live(shop, made[1], tmp_path / "base", "count", 0), made[1].people)
    assert again == runs["count"][1]
