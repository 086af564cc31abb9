"""Read your writes: is an acknowledged action in the very next feed, and how long does that take?

    python benchmarks/freshness.py [--pairs 10000] [--clients 8] [--rounds 10] [--json]

Real server processes (``wayline serve``) over the packaged shop, built once. Every pair posts an action and asks for
that person's feed; clients have people of their own, existing and brand-new, and share others, so that writes
interleave. Three ways: one server; two servers on one workspace, write to one and read from the other; and one server
where bought items may come back but returned ones may not. A feed is stale if it

- shows an item on which any client's action had been acknowledged before the feed was asked for (``feed.repeat =
  exclude``), or one that was returned (``feed.repeat = allow``),
- still calls a person new (``cold_start``) after their first action,
- or if the action is not among the person's newest (asked for after every fifth pair).

Most posted items are taken from the person's feed as it stood, so that not having seen the action would show: the same
rules, applied to the feed before the action as if it had been the answer, are the control. Beside each round the same
clients send as many pairs of ``GET /health/live``: what sockets, framework and clients cost alone.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.datasets import online_retail

RESULTS = Path(__file__).parent / "results" / "freshness.json"
SETTINGS = {
    "WAYLINE_ACTIONS__BUY": "1.0",
    "WAYLINE_ACTIONS__RETURN": "-1.0",
    "WAYLINE_TIME__CLOCK": "log",
}
OWN, SHARED = 12, 12  # people of each client and of all of them
FROM_FEED, NEW_ITEM, RETURN, NEW_PERSON, COMMON = 0.85, 0.03, 0.15, 0.1, 0.3  # shares of pairs
LATE_MS = 30_000  # an action's time may be so much before the newest
TRIES = 50  # feeds asked for until one shows the action


@dataclass
class Person:
    """What is known of somebody, by all clients that act for them."""

    id: str
    new: bool
    claimed: set[str] = field(default_factory=set)  # nobody posts an item twice
    bought: list[str] = field(default_factory=list)  # acknowledged, may be returned once
    gone: set[str] = field(default_factory=set)  # acknowledged: must not be shown
    feed: list[str] | None = None  # as it stood last
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Shop:
    """What the clients draw from."""

    item_ids: list[str]
    history: dict[str, list[str]]
    newest_ms: int
    tick: Iterator[int] = field(default_factory=count)

    def ts_ms(self, rng: random.Random, late: bool) -> int:
        """A time of its own for an action; may lie a little before those already sent."""
        return self.newest_ms + 1000 * next(self.tick) - (rng.randrange(LATE_MS) if late else 0)


@dataclass
class Client:
    """One client: its connections, its people, what it has seen."""

    number: int
    shop: Shop
    repeat: str
    people: list[Person]
    common: list[Person]
    write: http.client.HTTPConnection
    read: http.client.HTTPConnection
    rng: random.Random
    post_s: list[float] = field(default_factory=list)
    get_s: list[float] = field(default_factory=list)
    fresh_s: list[float] = field(default_factory=list)
    bare_s: list[float] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    flagged_before: int = 0
    born: int = 0
    read_back: int = 0

    def run(self, what: str, times: int) -> None:
        """Do something so many times, over fresh connections: a server lets go of idle ones."""
        self.write.close()
        self.read.close()
        for _ in range(times):
            getattr(self, what)()

    def pair(self) -> None:
        """Post an action, ask for the feed, hold it to the rules."""
        person = self._person()
        if person.feed is None:
            answer = self.feed_of(person)
            person.feed = [item["item_id"] for item in answer["items"]]
            if answer["cold_start"] and not person.new:
                self.stale.append(f"{person.id} has a history and is called new")
        before, was_new = person.feed, person.new
        rows = self._rows(person, before)
        began = time.perf_counter()
        receipt = ask(self.write, "POST", "/v1/actions", rows)
        acknowledged = time.perf_counter()
        if receipt["accepted"] != len(rows):
            raise SystemExit(f"{rows} gave {receipt}")
        with person.lock:
            person.new = False
            last = rows[-1]["action"]
            if self.repeat == "exclude" or last == "return":
                person.gone.add(rows[-1]["item_id"])
            if last == "buy":
                person.bought.append(rows[-1]["item_id"])
            gone = set(person.gone)
        self.flagged_before += bool(gone.intersection(before)) or was_new
        for _ in range(TRIES):
            asked = time.perf_counter()
            answer = self.feed_of(person)
            arrived = time.perf_counter()
            shown = [item["item_id"] for item in answer["items"]]
            wrong = sorted(gone.intersection(shown))
            if not wrong and not answer["cold_start"]:
                break
            self.stale.append(f"{person.id}: {rows} answered, then {wrong or 'cold_start'}")
        self.post_s.append(acknowledged - began)
        self.get_s.append(arrived - asked)
        self.fresh_s.append(arrived - began)
        person.feed = shown
        if len(self.fresh_s) % 5 == 0:
            self._read_back(person, rows[-1])

    def bare(self) -> None:
        """Two requests that do nothing."""
        began = time.perf_counter()
        ask(self.write, "GET", "/health/live")
        ask(self.read, "GET", "/health/live")
        self.bare_s.append(time.perf_counter() - began)

    def _person(self) -> Person:
        chance = self.rng.random()
        if chance < NEW_PERSON:
            self.born += 1
            person = Person(f"new-{self.number}-{self.born}", new=True)
            self.people[self.rng.randrange(OWN)] = person
            return person
        return self.rng.choice(self.common if chance < NEW_PERSON + COMMON else self.people)

    def _rows(self, person: Person, feed: list[str]) -> list[dict[str, Any]]:
        """The actions to post: something to buy, sometimes to return, mostly from the feed."""
        returning = self.rng.random() < (0.5 if self.repeat == "allow" else RETURN)
        with person.lock:
            if returning and person.bought and self.rng.random() < 0.5:
                item = person.bought.pop(self.rng.randrange(len(person.bought)))
                return [self._row(person, item, "return")]
            choices = [item for item in feed if item not in person.claimed]
            chance = self.rng.random()
            if chance >= FROM_FEED or not choices:
                choices = [i for i in self.shop.item_ids if i not in person.claimed]
            item = self.rng.choice(choices)
            if chance > 1 - NEW_ITEM:
                item = f"unheard-{self.number}-{len(self.fresh_s)}"
            person.claimed.add(item)
        rows = [self._row(person, item, "buy")]
        return [*rows, self._row(person, item, "return")] if returning else rows

    def _row(self, person: Person, item_id: str, action: str) -> dict[str, Any]:
        ts_ms = self.shop.ts_ms(self.rng, late=action == "buy" and self.rng.random() < 0.3)
        return {"user_id": person.id, "item_id": item_id, "action": action, "ts": ts_ms}

    def feed_of(self, person: Person) -> Any:
        """Ask for a person's feed."""
        return ask(self.read, "GET", f"/v1/users/{person.id}/feed?limit=20")

    def _read_back(self, person: Person, row: dict[str, Any]) -> None:
        found = ask(self.read, "GET", f"/v1/users/{person.id}/actions?limit=1000")["actions"]
        self.read_back += 1
        if not any(all(a[key] == row[key] for key in ("item_id", "action", "ts")) for a in found):
            self.stale.append(f"{row} is not among the actions")


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """One request; the answer as plain data."""
    content = None if body is None else json.dumps(body).encode()
    connection.request(method, path, content, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{method} {path} answered {answer.status}: {text[:300]!r}")
    return json.loads(text)


@contextlib.contextmanager
def served(workspace: Path, processes: int, repeat: str) -> Iterator[list[str]]:
    """Start servers on free ports; gives their addresses, and stops them at the end."""
    running: list[subprocess.Popen[str]] = []
    try:
        for _ in range(processes):
            command = [sys.executable, "-m", "wayline", "serve", "-w", str(workspace)]
            running.append(
                subprocess.Popen(
                    [*command, "--port", "0", "--json"],
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | SETTINGS | {"WAYLINE_FEED__REPEAT": repeat},
                )
            )
        lines = [process.stdout.readline() for process in running if process.stdout]
        yield [json.loads(line)["url"].removeprefix("http://") for line in lines]
    finally:
        for process in running:
            process.terminate()
            process.wait()


def make_clients(shop: Shop, repeat: str, addresses: list[str], n: int, seed: int) -> list[Client]:
    """Hand out people, the existing by lot; all clients write to the first server, read from the last."""
    rng = random.Random(seed)
    drawn = rng.sample(sorted(shop.history), SHARED // 2 + n * OWN // 2)

    def some(existing: int, new: int, name: str) -> list[Person]:
        old = [drawn.pop() for _ in range(existing)]
        gone = {user: set(shop.history[user]) for user in old}
        return [
            *(
                Person(u, False, set(gone[u]), gone=gone[u] if repeat == "exclude" else set())
                for u in old
            ),
            *(Person(f"{name}-{k}-{seed}", True) for k in range(new)),
        ]

    common = some(SHARED // 2, SHARED - SHARED // 2, "shared")
    return [
        Client(
            number * 1000 + seed,
            shop,
            repeat,
            some(OWN // 2, OWN - OWN // 2, f"own-{number}"),
            common,
            http.client.HTTPConnection(addresses[0], timeout=60),
            http.client.HTTPConnection(addresses[-1], timeout=60),
            random.Random(seed * 1000 + number),
        )
        for number in range(n)
    ]


def measure(clients: list[Client], pairs: int, rounds: int) -> dict[str, Any]:
    """Send the pairs in rounds, as many bare ones after each; the first round's people meet a warm server."""
    for client in clients:
        client.feed_of(client.people[0])
        client.read.close()
    took = {"pair": 0.0, "bare": 0.0}
    share = pairs // rounds // len(clients)
    with ThreadPoolExecutor(len(clients)) as pool:
        for _ in range(rounds):
            for name in took:
                began = time.perf_counter()
                list(pool.map(lambda c, n=name: c.run(n, share), clients))
                took[name] += time.perf_counter() - began
    return summary(clients, took)


def summary(clients: list[Client], took: dict[str, float]) -> dict[str, Any]:
    """Put the clients' figures together."""
    ms: dict[str, tuple[float, float]] = {}
    for name in ("fresh_s", "post_s", "get_s", "bare_s"):
        every = [s for client in clients for s in getattr(client, name)]
        p50, p99 = np.quantile(every, [0.5, 0.99]) * 1e3
        ms[name] = round(float(p50), 2), round(float(p99), 2)
    stale = [line for client in clients for line in client.stale]
    for line in stale[:10]:
        print(line, file=sys.stderr)
    pairs = sum(len(client.fresh_s) for client in clients)
    return {
        "pairs": pairs,
        "clients": len(clients),
        "stale": len(stale),
        "stale_if_answered_before": sum(client.flagged_before for client in clients),
        "read_back": sum(client.read_back for client in clients),
        "new_people": sum(client.born for client in clients),
        "freshness_p50_ms": ms["fresh_s"][0],
        "freshness_p99_ms": ms["fresh_s"][1],
        "post_p50_ms": ms["post_s"][0],
        "post_p99_ms": ms["post_s"][1],
        "feed_p50_ms": ms["get_s"][0],
        "feed_p99_ms": ms["get_s"][1],
        "bare_pair_p50_ms": ms["bare_s"][0],
        "bare_pair_p99_ms": ms["bare_s"][1],
        "p50_over_bare": round(ms["fresh_s"][0] / ms["bare_s"][0], 1),
        "pairs_per_s": round(pairs / took["pair"], 1),
        "bare_pairs_per_s": round(pairs / took["bare"], 1),
    }


def make_shop(folder: Path) -> tuple[Path, Shop]:
    """Build the packaged shop once."""
    data = online_retail()
    workspace = folder / "shop"
    with wayline.open(workspace, create=True, config=data.config) as engine:
        engine.add_items(data.items)
        engine.add_actions(data.actions)
        engine.build()
    actions = pl.read_parquet(data.actions)
    grouped = actions.group_by("user_id").agg(pl.col("item_id").unique()).sort("user_id")
    items = pl.read_parquet(data.items)["item_id"].to_list()
    newest = int(actions["ts"].max())  # type: ignore[arg-type]  # a column of whole numbers
    return workspace, Shop(items, dict(grouped.iter_rows()), newest + LATE_MS)


def main(argv: list[str] | None = None) -> None:
    """Run the three ways, print a table, write ``results/freshness.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    ways = {
        "one server": (1, "exclude"),
        "write to one, read from another": (2, "exclude"),
        "one server, repeats allowed": (1, "allow"),
    }
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        workspace, shop = make_shop(Path(temporary))
        for seed, (name, (processes, repeat)) in enumerate(ways.items(), 1):
            with served(workspace, processes, repeat) as addresses:
                clients = make_clients(shop, repeat, addresses, args.clients, seed)
                found = measure(clients, args.pairs, args.rounds)
            rows.append({"way": name, "servers": processes, "repeat": repeat, **found})
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")  # each way takes minutes
    if args.json:
        print(json.dumps(rows))
    else:
        table = Table("", *(row["way"] for row in rows), title="Read your writes")
        for key in list(rows[0])[1:]:
            table.add_row(key, *(str(row[key]) for row in rows))
        Console().print(table)
    if any(row["stale"] for row in rows):
        raise SystemExit("A feed did not show an acknowledged action.")


if __name__ == "__main__":
    main()
