"""Nearest tokens of a long history: wayline beside torch, numpy, faiss, usearch and the bare GEMM.

``python benchmarks/selection.py`` (or ``wayline bench select``) prints a table and writes
``results/select.json``. Every contender gets the same int8 table, history and candidates and gives
the top k of each candidate; *torch mm + topk* and the GEMM start from float32 unit rows that were
made before the clock. Contenders take turns with the same number of threads; the table shows
medians, the JSON minima as well.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CANDIDATES, K = 500, 100
LENGTHS = (100, 1_000, 4_000, 16_000, 64_000)
DIMENSIONS = (32, 64)
SLACKBUILDS = (
    Path(__file__).resolve().parents[2] / "shared" / "data" / "slackbuilds" / "actions.parquet"
)
ORDERS = ("ascending", "all equal", "all duplicates")


def history(
    s: int, d: int, seed: int, order: str = "lively"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An int8 table, the items of a history (with sessions: runs of one topic) and candidates."""
    from wayline.embeddings.linear import quantise

    rng = np.random.default_rng(seed)
    centres = _unit(rng.normal(size=(200, d)))
    topic = rng.integers(len(centres), size=30_000)
    vectors = _unit(centres[topic] + 0.9 * rng.normal(size=(len(topic), d)) / np.sqrt(d))
    by_topic = np.argsort(topic, kind="stable")
    begins = np.searchsorted(topic[by_topic], np.arange(len(centres) + 1))
    liked = rng.permutation(len(centres))[:40]
    runs = np.repeat(rng.choice(liked, size=s // 8 + 1), 8)[:s]
    offset = (rng.random(s) * (begins[runs + 1] - begins[runs])).astype(np.int64)
    item_idx = by_topic[begins[runs] + offset]
    candidates = rng.integers(len(topic), size=CANDIDATES)
    if order == "ascending":  # nearer and nearer to the first candidate
        item_idx = item_idx[np.argsort(vectors[item_idx] @ vectors[candidates[0]])]
    elif order == "all equal":
        vectors[:] = vectors[0]
    elif order == "all duplicates":
        item_idx[:] = item_idx[0]
    return quantise(vectors.astype(np.float32)), item_idx, candidates


def real_history(actions: Path, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The longest history of an action log, with the graph vectors wayline makes of that log."""
    import polars as pl

    from wayline.embeddings.graph import graph_vectors
    from wayline.embeddings.linear import quantise

    log = pl.read_parquet(actions).sort("ts", maintain_order=True)
    user_idx = log["user_id"].cast(pl.Categorical).to_physical().cast(pl.Int64).to_numpy()
    item_idx = log["item_id"].cast(pl.Categorical).to_physical().cast(pl.Int64).to_numpy()
    item_idx = np.unique(item_idx, return_inverse=True)[1]
    n = int(item_idx.max()) + 1
    order = np.arange(len(log), dtype=np.int64)  # only the order of times counts
    worth = np.ones(len(log), np.float32)
    vectors, _ = graph_vectors(user_idx, item_idx, order, worth, n, dim=d)
    longest = np.bincount(user_idx).argmax()
    candidates = np.random.default_rng(0).integers(n, size=CANDIDATES)
    return quantise(vectors), item_idx[user_idx == longest], candidates


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _contenders(
    table: np.ndarray, item_idx: np.ndarray, vectors: np.ndarray, k: int, threads: int, slow: bool
) -> dict[str, Callable[[], Any]]:
    import torch
    from scipy.linalg.blas import sgemm
    from usearch.index import MetricKind, search

    from wayline.embeddings.linear import dequantise, unit_rows
    from wayline.sequences.select import select_nearest

    ts_ms = np.arange(len(item_idx), dtype=np.int64)
    rows = unit_rows(dequantise(table[item_idx]))
    table_t, item_t = torch.from_numpy(table), torch.from_numpy(item_idx)
    rows_t, vectors_t = torch.from_numpy(rows), torch.from_numpy(vectors)

    def torch_whole() -> Any:
        tokens = table_t[item_t].to(torch.float32) * (0.65 / 127)
        return (vectors_t @ torch.nn.functional.normalize(tokens).T).topk(k, dim=1)

    def numpy_whole() -> Any:
        near = vectors @ unit_rows(dequantise(table[item_idx])).T
        best = np.argpartition(near, -k, axis=1)[:, -k:]
        value = np.take_along_axis(near, best, 1)
        order = np.argsort(-value, axis=1)
        return np.take_along_axis(best, order, 1), np.take_along_axis(value, order, 1)

    found = {
        "wayline": lambda: select_nearest(item_idx, ts_ms, table, vectors, k, threads=threads),
        "torch": torch_whole,
        "torch mm + topk": lambda: (vectors_t @ rows_t.T).topk(k, dim=1),
        "GEMM alone": lambda: sgemm(1.0, rows.T, vectors.T, trans_a=1),
        "torch GEMM": lambda: vectors_t @ rows_t.T,
    }
    if slow:
        found["numpy"] = numpy_whole
        found["usearch exact"] = lambda: search(
            rows, vectors, k, MetricKind.IP, exact=True, threads=threads
        )
        try:
            import faiss
        except ImportError:
            pass
        else:
            index = faiss.IndexFlatIP(rows.shape[1])
            index.add(rows)
            faiss.omp_set_num_threads(threads)
            found["faiss flat"] = lambda: index.search(vectors, k)
    return found


def _one(
    s: int, d: int, threads: int, effort: float, order: str = "lively", actions: Path | None = None
) -> dict[str, Any]:
    import torch
    from threadpoolctl import threadpool_limits

    from wayline.sequences.select import _unit_rows_of

    if actions is None:
        table, item_idx, candidates = history(s, d, seed=s + d, order=order)
    else:
        table, item_idx, candidates = real_history(actions, d)
        s = len(item_idx)
    vectors = _unit_rows_of(table, candidates)
    k = min(K, s)
    torch.set_num_threads(threads)
    seconds: dict[str, list[float]] = {}
    with threadpool_limits(threads):
        contenders = _contenders(table, item_idx, vectors, k, threads, slow=order == "lively")
        for contender in contenders.values():
            contender()
        turns = max(5, round(effort * min(60, 60 * 16_000 / s)))
        for turn in range(turns):
            for name, contender in contenders.items():
                if name in ("numpy", "usearch exact", "faiss flat") and turn % 4:
                    continue
                start = time.perf_counter()
                contender()
                seconds.setdefault(name, []).append(time.perf_counter() - start)
        same = _same(contenders, k)
    median = {name: 1e3 * float(np.median(times)) for name, times in seconds.items()}
    return {
        "order": order,
        "s": s,
        "d": d,
        "candidates": CANDIDATES,
        "k": k,
        "threads": threads,
        "median_ms": median,
        "min_ms": {name: 1e3 * min(times) for name, times in seconds.items()},
        "ratio_torch": _ratio(seconds, "torch", "wayline"),
        "ratio_torch_mm_topk": _ratio(seconds, "torch mm + topk", "wayline"),
        "times_gemm": _ratio(seconds, "wayline", "GEMM alone"),
        "same_sets": same,
    }


def _ratio(seconds: dict[str, list[float]], one: str, other: str) -> float:
    """Median of the ratios turn by turn: neighbours in time, so a busy machine hits both."""
    return float(np.median(np.array(seconds[one]) / np.array(seconds[other])))


def _same(contenders: dict[str, Callable[[], Any]], k: int) -> bool:
    """Whether ours is torch's top k: equal similarities, and equal tokens but for ties."""
    ours, theirs = contenders["wayline"](), contenders["torch"]()
    value, token = theirs.values.numpy(), theirs.indices.numpy()
    if not np.allclose(ours.similarity, value, rtol=0, atol=2e-6):
        return False
    last = value[:, -1:] + 2e-6
    for c in range(len(value)):
        sure = set(token[c][value[c] > last[c]].tolist())
        if not sure <= set(ours.token_idx[c].tolist()):
            return False
    return True


def run(
    lengths: tuple[int, ...],
    dimensions: tuple[int, ...],
    threads: tuple[int, ...],
    effort: float,
    actions: Path,
    *,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure; gives what is written to the JSON file."""
    rows: list[dict[str, Any]] = []
    report(_head())
    for d in dimensions:
        for s in lengths:
            for t in threads:
                rows.append(_one(s, d, t, effort))
                report(_line(rows[-1]))
    for order in ORDERS:
        rows.append(_one(16_000, dimensions[0], threads[0], effort / 2, order))
        report(_line(rows[-1]))
    if actions.exists():
        for t in threads:
            rows.append(_one(0, dimensions[0], t, effort, "real", actions))
            report(_line(rows[-1]))
    else:
        report(f"(no real history: {actions.name} is not there)")
    report(
        f"(median milliseconds; {CANDIDATES} candidates, top {K}; n/a: not installed or left out)"
    )
    return {"rows": rows}


NAMES = (
    "wayline", "torch", "torch mm + topk", "numpy", "faiss flat", "usearch exact", "GEMM alone",
    "torch GEMM",
)  # fmt: skip


def _head() -> str:
    heads = ["order", "S", "D", "threads", *NAMES, "torch /", "mm+topk /", "x GEMM", "same"]
    return "".join(f"{head:>16}" for head in heads)


def _line(row: dict[str, Any]) -> str:
    times = [f"{row['median_ms'][n]:.2f}" if n in row["median_ms"] else "n/a" for n in NAMES]
    ratios = [f"{row[n]:.2f}" for n in ("ratio_torch", "ratio_torch_mm_topk", "times_gemm")]
    cells = [row["order"], row["s"], row["d"], row["threads"], *times, *ratios, row["same_sets"]]
    return "".join(f"{cell!s:>16}" for cell in cells)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 1 if the selections differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="*", default=list(LENGTHS))
    parser.add_argument("--dimensions", type=int, nargs="*", default=list(DIMENSIONS))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--effort", type=float, default=1.0, help="more turns, steadier figures")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "select.json"
    )
    parser.add_argument(
        "--actions", type=Path, default=SLACKBUILDS, help="Parquet with user_id, item_id, ts"
    )
    options = parser.parse_args(argv)
    found = run(
        tuple(options.lengths),
        tuple(options.dimensions),
        tuple(options.threads),
        options.effort,
        options.actions,
    )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0 if all(row["same_sets"] for row in found["rows"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
