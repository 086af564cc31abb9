"""A feed request from end to end: by catalogue, by length of history, with and without the ranker, alone and by eight.

    python benchmarks/feed.py [--items real 100000 1000000] [--requests 300] [--clients 8] [--no-ranker]

The real catalogue is the packaged shop (3.7k items, settings of the demo). The larger ones are made: clustered vectors
(kind "given"), people with 10, 100, 1,000 and 10,000 actions in a few clusters, the plain recipe. Everything goes
through ``Engine.feed`` in one process, with all that a request does: history, interests, sources, filters, scores,
ranker, selection, reasons, titles, impressions. The ranker is trained on a few hundred moments and served whatever it
is worth (``ranking.margin = -1``): its time does not depend on its weights.

One client asks, then ``--clients`` threads at once, the same people with each. The yardstick in the loop of the one
client is the least anybody would write for three medoids: one matrix product over all vectors and a partial sort.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS
from wayline.datasets import online_retail

RESULTS = Path(__file__).parent / "results" / "feed.json"
NOW_MS = 1_700_000_000_000
PEOPLE = {10: 300, 100: 2700, 1000: 60, 10_000: 10}  # how many have a history of how many actions
RANKING = {"margin": -1.0, "max_requests": 2000, "windows": 1, "epochs": 1}
OFF = {"mode": "off"}


def made_workspace(
    folder: Path, n_items: int, ranking: dict[str, Any], *, dim: int = 64
) -> wayline.Engine:
    """Make a workspace of ``n_items`` items and of people with histories of four lengths."""
    rng = np.random.default_rng(0)
    n_clusters = max(n_items // 200, 20)
    centres = rng.normal(size=(n_clusters, dim)).astype(np.float32)
    cluster = np.sort(rng.integers(0, n_clusters, n_items))
    vectors = centres[cluster] + 0.5 * rng.normal(size=(n_items, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"i{k}" for k in range(n_items)]
    given = folder / "vectors.parquet"
    pl.DataFrame({"item_id": ids, "vector": vectors}).write_parquet(given)
    first = np.searchsorted(cluster, np.arange(n_clusters))
    size = np.maximum(np.bincount(cluster, minlength=n_clusters), 1)
    engine = wayline.open(
        folder / "workspace",
        create=True,
        config={
            "time": {"clock": "log"},
            "embeddings": {"kind": "given", "given": str(given), "dim": dim},
            "recipe": {"mode": "plain"},
            "ranking": ranking,
        },
    )
    engine.add_items(pl.DataFrame({"item_id": ids, "title": [f"Item {k}" for k in range(n_items)]}))
    for length, people in PEOPLE.items():
        liked = rng.integers(0, n_clusters, (people, 6))
        chosen = np.take_along_axis(liked, rng.integers(0, 6, (people, length)), axis=1)
        # Few items of a cluster are wanted often: what goes with what can be learned, as in a shop.
        within = np.minimum(rng.geometric(0.02, (people, length)) - 1, 10_000) % size[chosen]
        items = np.minimum(first[chosen] + within, n_items - 1)
        days = max(60, length // 5)
        ago_ms = np.sort(rng.integers(0, days * DAY_MS, (people, length)), axis=1)[:, ::-1]
        engine.add_actions(
            pl.DataFrame(
                {
                    "user_id": np.repeat([f"u{length}-{k}" for k in range(people)], length),
                    "item_id": np.array(ids)[items.ravel()],
                    "ts": NOW_MS - ago_ms.ravel(),
                    "action": "view",
                }
            )
        )
    return engine


def real_workspace(folder: Path, ranking: dict[str, Any]) -> wayline.Engine:
    """Open the packaged shop with the demo's settings."""
    data = online_retail()
    engine = wayline.open(
        folder / "workspace", create=True, config={**data.config, "ranking": ranking}
    )
    engine.add_items(data.items)
    engine.add_actions(data.actions)
    return engine


def measure(
    engine: wayline.Engine, people: list[str], requests: int, clients: int
) -> dict[str, Any]:
    """Time feeds of random people, an exact scan after each; then the same by several clients at once."""
    rng = np.random.default_rng(1)
    generation = engine.current_generation()
    folder = engine.path / "data" / "generations" / str(generation)
    vectors = np.load(folder / "vectors.npy")
    for user in people[:10]:
        engine.feed(user)  # compiled and mapped before the clock starts
    asked = rng.choice(people, requests).tolist()
    spent, scan = [], []
    for user in asked:
        spent.append(_timed(engine, user))
        began = time.perf_counter()
        similarity = vectors[rng.integers(0, len(vectors), 3)] @ vectors.T
        np.argpartition(-similarity, 66, axis=1)
        scan.append(time.perf_counter() - began)
    one = _alone(engine, asked)
    many = _together(engine, asked, clients) if clients > 1 else {}
    base = float(np.median(scan)) * 1e3
    return {
        "p50_ms": _ms(spent, 0.5),
        "p99_ms": _ms(spent, 0.99),
        "scan_p50_ms": round(base, 2),
        "p50_over_scan": round(float(np.median(spent)) * 1e3 / base, 2),
        "feeds_a_second": round(one, 1),
        **many,
        **({"of_one_client": round(many["feeds_a_second_together"] / one, 2)} if many else {}),
    }


def _timed(engine: wayline.Engine, user: str) -> float:
    began = time.perf_counter()
    engine.feed(user)
    return time.perf_counter() - began


def _alone(engine: wayline.Engine, asked: list[str]) -> float:
    """Feeds a second of one client that asks again at once."""
    began = time.perf_counter()
    for user in asked:
        engine.feed(user)
    return len(asked) / (time.perf_counter() - began)


def _together(engine: wayline.Engine, asked: list[str], clients: int) -> dict[str, Any]:
    """The same feeds shared out among threads; what the engine counts of them beside."""
    before = engine.stats()["ranker"]
    spent: list[float] = []
    errors: list[str] = []
    waiting = iter(asked * 2)
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                user = next(waiting, None)
            if user is None:
                return
            try:
                spent.append(_timed(engine, user))
            except Exception as error:  # counted: a feed must never fail
                errors.append(repr(error))

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    after = engine.stats()["ranker"]
    return {
        "clients": clients,
        "p50_ms_together": _ms(spent, 0.5),
        "p99_ms_together": _ms(spent, 0.99),
        "feeds_a_second_together": round(len(spent) / took, 1),
        "errors": len(errors),
        **{name: after[name] - before[name] for name in ("shortened", "failed")},
    }


def _ms(spent: list[float], quantile: float) -> float:
    return round(float(np.quantile(spent, quantile)) * 1e3, 2)


def people_by_length(engine: wayline.Engine, made: bool) -> dict[str, list[str]]:
    """Whom to ask for, by the length of their histories."""
    if made:
        return {str(n): [f"u{n}-{k}" for k in range(count)] for n, count in PEOPLE.items()}
    counts = np.zeros(engine.store.count_users() + 1, np.int64)
    for part in engine.store.scan_actions():
        counts += np.bincount(part.user_key, minlength=len(counts))
    keys = np.flatnonzero((counts >= 30) & (counts <= 300))
    return {"30-300": engine.store.user_ids(keys)}


def main(argv: list[str] | None = None) -> None:
    """Run the sizes asked for, print a table, write ``results/feed.json``."""
    parser = argparse.ArgumentParser(description="Time whole feed requests.")
    parser.add_argument("--items", nargs="+", default=["real", "100000"])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--no-ranker", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    for name in args.items:
        with tempfile.TemporaryDirectory() as temporary:
            folder, made = Path(temporary), name != "real"
            ranking = OFF if args.no_ranker else RANKING
            engine = (
                made_workspace(folder, int(name), ranking)
                if made
                else real_workspace(folder, ranking)
            )
            began = time.perf_counter()
            engine.build()
            build_s = round(time.perf_counter() - began, 1)
            train_s = 0.0
            if not args.no_ranker:
                began = time.perf_counter()
                engine.train()
                train_s = round(time.perf_counter() - began, 1)
            for length, people in people_by_length(engine, made).items():
                clients = args.clients if length in ("100", "30-300") else 1
                row = {"catalogue": name, "history": length, "ranker": not args.no_ranker}
                row |= measure(engine, people, args.requests, clients)
                rows.append(row | {"build_s": build_s, "train_s": train_s})
                print(json.dumps(rows[-1]), flush=True)
            engine.close()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    if args.json:
        return
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(*columns, title="A whole feed request")
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
