"""A feed request from end to end, by catalogue size: p50 and p99, beside an exact scan of the same vectors.

    python benchmarks/feed.py [--items real 100000 1000000] [--requests 300]

The real catalogue is the packaged shop (3.7k items, settings of the demo). The larger ones are made: clustered vectors
(kind "given"), people with 100 actions each in a few clusters, the plain recipe. One client, in one process, through
``Engine.feed`` with everything a request does: history, interests, sources, filters, scores, selection, reasons,
titles, impressions. The yardstick in the same loop is the least anybody would write for three medoids: one matrix
product over all vectors and a partial sort.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.datasets import online_retail

RESULTS = Path(__file__).parent / "results" / "feed.json"
NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def made_workspace(
    folder: Path, n_items: int, *, dim: int = 64, people: int = 3000
) -> wayline.Engine:
    """Make and build a workspace of ``n_items`` items and ``people`` persons with 100 actions each."""
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
    liked = rng.integers(0, n_clusters, (people, 6))
    chosen = np.take_along_axis(liked, rng.integers(0, 6, (people, 100)), axis=1)
    items = np.minimum(
        first[chosen] + rng.integers(0, 1 << 30, (people, 100)) % size[chosen], n_items - 1
    )
    ts_ms = NOW_MS - np.sort(rng.integers(0, 60 * DAY_MS, (people, 100)), axis=1)[:, ::-1]
    engine = wayline.open(
        folder / "workspace",
        create=True,
        config={
            "time": {"clock": "log"},
            "embeddings": {"kind": "given", "given": str(given), "dim": dim},
            "recipe": {"mode": "plain"},
        },
    )
    engine.add_items(pl.DataFrame({"item_id": ids, "title": [f"Item {k}" for k in range(n_items)]}))
    engine.add_actions(
        pl.DataFrame(
            {
                "user_id": np.repeat([f"u{k}" for k in range(people)], 100),
                "item_id": np.array(ids)[items.ravel()],
                "ts": ts_ms.ravel(),
                "action": "view",
            }
        )
    )
    return engine


def real_workspace(folder: Path) -> wayline.Engine:
    """Open the packaged shop with the demo's settings."""
    data = online_retail()
    engine = wayline.open(folder / "workspace", create=True, config=data.config)
    engine.add_items(data.items)
    engine.add_actions(data.actions)
    return engine


def measure(engine: wayline.Engine, requests: int) -> dict[str, float]:
    """Time ``requests`` feeds of random people of 30 to 300 actions, an exact scan after each."""
    rng = np.random.default_rng(1)
    generation = engine.current_generation()
    folder = engine.path / "data" / "generations" / str(generation)
    vectors = np.load(folder / "vectors.npy")
    people = _people(engine)
    for user in people[:10]:
        engine.feed(user)  # compiled and mapped before the clock starts
    spent, scan = [], []
    for user in rng.choice(people, requests):
        began = time.perf_counter()
        engine.feed(str(user))
        spent.append(time.perf_counter() - began)
        began = time.perf_counter()
        similarity = vectors[rng.integers(0, len(vectors), 3)] @ vectors.T
        np.argpartition(-similarity, 66, axis=1)
        scan.append(time.perf_counter() - began)
    p50, p99 = np.quantile(spent, [0.5, 0.99]) * 1e3
    base = float(np.median(scan)) * 1e3
    return {
        "items": len(vectors),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "scan_p50_ms": round(base, 2),
        "p50_over_scan": round(float(p50) / base, 2),
    }


def _people(engine: wayline.Engine) -> list[str]:
    counts = np.zeros(engine.store.count_users() + 1, np.int64)
    for part in engine.store.scan_actions():
        counts += np.bincount(part.user_key, minlength=len(counts))
    keys = np.flatnonzero((counts >= 30) & (counts <= 300))
    return engine.store.user_ids(keys)


def main(argv: list[str] | None = None) -> None:
    """Run the sizes asked for, print a table, write ``results/feed.json``."""
    parser = argparse.ArgumentParser(description="Time whole feed requests.")
    parser.add_argument("--items", nargs="+", default=["real", "100000", "1000000"])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    rows = []
    for name in args.items:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            engine = real_workspace(folder) if name == "real" else made_workspace(folder, int(name))
            began = time.perf_counter()
            engine.build()
            build_s = time.perf_counter() - began
            rows.append(
                {"catalogue": name, **measure(engine, args.requests), "build_s": round(build_s, 1)}
            )
            engine.close()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    if args.json:
        print(json.dumps(rows))
        return
    table = Table(*rows[0], title="A whole feed request, one client")
    for row in rows:
        table.add_row(*(str(v) for v in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
