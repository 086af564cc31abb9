"""What was acknowledged is in the very next feed, whoever wrote it and whichever process is asked."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import pytest

import wayline
from server.served_shop import START_S, Server, start_process

CLIENTS, PAIRS = 8, 13  # pairs of each client, in each of three ways
ITEMS, USERS, LIMIT = 400, 40, 15
SECONDS: Iterator[int] = count(START_S + 40_000_000)  # each action has one of its own


@dataclass
class Person:
    """Somebody several clients may act for."""

    id: str
    new: bool = True
    claimed: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    feed: list[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Three server processes over one workspace; in the last, bought items may come back."""
    folder = tmp_path_factory.mktemp("fresh")
    build(folder / "shop")
    ways = {"first": "exclude", "second": "exclude", "repeating": "allow"}

    def start(name: str) -> Server:
        settings = {"WAYLINE_FEED__REPEAT": ways[name], "WAYLINE_ACTIONS__RETURN": "-1.0"}
        return start_process(folder / "shop", folder / f"{name}.log", **settings)

    with ThreadPoolExecutor(len(ways)) as pool:
        starting = {name: pool.submit(start, name) for name in ways}
    try:
        yield {name: started.result() for name, started in starting.items()}
    finally:
        for started in starting.values():
            if started.exception() is None:
                process = started.result().process
                process.kill()
                process.communicate()


def build(folder: Path) -> None:
    """Build a shop of 400 items and 40 people."""
    config = {
        "actions": {"buy": 1.0, "return": -1.0},
        "time": {"clock": "log"},
        "embeddings": {"kind": "graph", "dim": 16},
        "recipe": {"mode": "plain"},
    }
    rng = random.Random(0)
    with wayline.open(folder, create=True, config=config) as engine:
        engine.add_items([{"item_id": f"i{n}", "title": f"Item {n}"} for n in range(ITEMS)])
        engine.add_actions(
            [
                {
                    "user_id": f"u{user}",
                    "item_id": f"i{(user % 8 + 8 * rng.randrange(ITEMS // 8)) % ITEMS}",
                    "action": "buy",
                    "ts": START_S + step * 3600 + user,
                }
                for user in range(USERS)
                for step in range(12)
            ]
        )
        engine.build()


class Clients:
    """Eight clients; each has people of its own, and all share some."""

    def __init__(self, write: str, read: str, repeat: str, name: str) -> None:
        self.write, self.read, self.repeat, self.name = write, read, repeat, name
        self.common = [Person("u0", new=False), Person(f"{name}-shared")]
        self.stale: list[str] = []
        self.flagged = 0

    def run(self) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._one_client, range(CLIENTS)))

    def _one_client(self, number: int) -> None:
        rng = random.Random(number)
        own = [Person(f"u{number + 1}", new=False), Person(f"{self.name}-{number}")]
        with (
            httpx.Client(base_url=self.write, timeout=60) as write,
            httpx.Client(base_url=self.read, timeout=60) as read,
        ):
            for step in range(PAIRS):
                if step % 6 == 5:
                    own[1] = Person(f"{self.name}-{number}-{step}")
                self._pair(write, read, rng, rng.choice([*own, *self.common]))

    def _pair(
        self, write: httpx.Client, read: httpx.Client, rng: random.Random, person: Person
    ) -> None:
        before = person.feed or self._feed(read, person)[0]
        was_new = person.new
        with person.lock:
            free = [item for item in before if item not in person.claimed]
            item = rng.choice(free) if free else f"unheard-{next(SECONDS)}"
            person.claimed.add(item)
        ts = next(SECONDS) - rng.randrange(20)  # clients' clocks differ
        rows = [{"user_id": person.id, "item_id": item, "action": "buy", "ts": ts}]
        if self.repeat == "allow":
            rows.append(rows[0] | {"action": "return", "ts": next(SECONDS)})
        assert write.post("/v1/actions", json=rows).json()["accepted"] == len(rows)
        with person.lock:
            person.gone.add(item)
            person.new = False
            gone = set(person.gone)
        self.flagged += bool(gone.intersection(before)) or was_new
        shown, cold = self._feed(read, person)
        if cold or gone.intersection(shown):
            self.stale.append(f"{rows} was answered, then {gone.intersection(shown)}, {cold}")
        person.feed = shown
        newest = read.get(f"/v1/users/{person.id}/actions?limit=100").json()["actions"]
        if [item, rows[-1]["action"]] not in [[a["item_id"], a["action"]] for a in newest]:
            self.stale.append(f"{rows} is not among the actions")

    def _feed(self, read: httpx.Client, person: Person) -> tuple[list[str], bool]:
        answer = json.loads(read.get(f"/v1/users/{person.id}/feed?limit={LIMIT}").content)
        return [item["item_id"] for item in answer["items"]], answer["cold_start"]


@pytest.mark.parametrize(
    ("read_from", "repeat"),
    [("first", "exclude"), ("second", "exclude"), ("repeating", "allow")],
    ids=["same process", "another process", "another process, repeats allowed"],
)
def test_the_very_next_feed_shows_what_was_acknowledged(
    servers: dict[str, Server], read_from: str, repeat: str
) -> None:
    clients = Clients(servers["first"].url, servers[read_from].url, repeat, read_from)
    clients.run()
    assert clients.stale == []
    # The feed before the action, taken for the answer, breaks the same rules: they have teeth.
    assert clients.flagged > 0.9 * CLIENTS * PAIRS
