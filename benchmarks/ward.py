"""Ward clustering beside scipy, fastcluster and scikit-learn.

``python benchmarks/ward.py`` (or ``wayline bench ward``) prints two tables, one person's rows and
many people in one call, and writes ``results/ward.json``. Every contender gets the same float32
unit vectors and has to give labels at the same cut; ours gives medoids and heights too. Contenders
take turns and each keeps its best time, which is what a shared machine leaves comparable.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ALPHA = 0.6
SIZES = (200, 1000, 3000, 5000)
DIMENSIONS = (64, 256)


def vectors(m: int, d: int, seed: int) -> np.ndarray:
    """Unit vectors of a person with an interest for every 25 items; cosine inside one about 0.7."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(3, m // 25), d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    x = centres[rng.integers(len(centres), size=m)] + 0.6 * rng.normal(size=(m, d)) / np.sqrt(d)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def run(
    sizes: tuple[int, ...] = SIZES,
    dimensions: tuple[int, ...] = DIMENSIONS,
    people: int = 2000,
    threads: int = 2,
    effort: float = 1.0,
    *,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure; gives what is written to the JSON file."""
    one = [_one(m, d, effort) for m in sizes for d in dimensions if not _tell(report, m, d)]
    report(_table(one))
    many = (
        [_many(people, d, threads, max(2, round(3 * effort))) for d in dimensions] if people else []
    )
    for row in many:
        report(
            f"{row['people']:,} people x 20-500 x {row['d']}: "
            f"wayline {row['wayline_people_s']:,.0f} people/s ({threads} threads), "
            f"fastcluster {row['fastcluster_people_s']:,.0f} ({threads} processes), "
            f"ratio {row['ratio']:.2f}, same partitions {row['same_partitions']}"
        )
    return {"alpha": ALPHA, "one": one, "many": many}


def _tell(report: Callable[[str], None], m: int, d: int) -> None:
    report(f"clustering {m:,} x {d} ...")


def _contenders(x: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    import fastcluster
    from scipy.cluster.hierarchy import fcluster, linkage
    from sklearn.cluster import AgglomerativeClustering

    from wayline.interests import WardClusterer

    cut = ALPHA**0.5
    model = AgglomerativeClustering(n_clusters=None, distance_threshold=cut, linkage="ward")
    return {
        "wayline": lambda: WardClusterer(ALPHA).fit(x).labels_,
        "scipy": lambda: fcluster(linkage(x, "ward"), cut, "distance"),
        "fastcluster": lambda: fcluster(fastcluster.linkage(x, "ward"), cut, "distance"),
        "scikit-learn": lambda: model.fit_predict(x),
    }


def _one(m: int, d: int, effort: float) -> dict[str, Any]:
    from scipy.linalg.blas import sgemm

    from wayline.interests.blas import one_blas_thread

    x = vectors(m, d, seed=m + d)
    contenders = _contenders(x)
    labels = {name: contender() for name, contender in contenders.items()}
    best = dict.fromkeys(contenders, float("inf"))
    gemm = float("inf")
    turns = max(3, round(effort * {200: 60, 1000: 12}.get(m, 4)))
    for _ in range(turns):
        for name, contender in contenders.items():
            best[name] = min(best[name], _seconds(contender))
            if (
                name != "wayline"
            ):  # ours between the others, so that a quiet moment is nobody's alone
                best["wayline"] = min(best["wayline"], _seconds(contenders["wayline"]))
        with one_blas_thread():
            gemm = min(gemm, _seconds(lambda: sgemm(1.0, x.T, x.T, trans_a=1)))
    others = {name: seconds for name, seconds in best.items() if name != "wayline"}
    fastest = min(others, key=lambda name: others[name])
    return {
        "m": m,
        "d": d,
        "ms": {name: 1e3 * seconds for name, seconds in best.items()},
        "gemm_ms": 1e3 * gemm,
        "fastest_other": fastest,
        "ratio": others[fastest] / best["wayline"],
        "same_partitions": all(_same(labels["wayline"], other) for other in labels.values()),
    }


def _many(people: int, d: int, threads: int, turns: int) -> dict[str, Any]:
    from wayline.interests import cluster_many

    counts = np.random.default_rng(0).integers(20, 501, people)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    x = np.concatenate([vectors(int(m), d, seed) for seed, m in enumerate(counts)])
    ours = theirs = float("inf")
    batch = cluster_many(x, offsets, ALPHA, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.npz"
        np.savez(path, x=x, offsets=offsets)
        for _ in range(turns):
            theirs = min(theirs, _fastcluster_processes(path, people, threads))
            for _ in range(2):
                ours = min(ours, _seconds(lambda: cluster_many(x, offsets, ALPHA, threads=threads)))
        parts = [np.load(path.with_name(f"labels{part}.npy")) for part in range(threads)]
    labels = np.concatenate(parts)
    same = all(_same(batch.labels[lo:hi], labels[lo:hi]) for lo, hi in pairwise(offsets.tolist()))
    return {
        "people": people,
        "d": d,
        "threads": threads,
        "wayline_people_s": people / ours,
        "fastcluster_people_s": people / theirs,
        "ratio": theirs / ours,
        "same_partitions": same,
    }


def _fastcluster_processes(path: Path, people: int, processes: int) -> float:
    """Wall time of the loop in so many processes, once all have started and read their data."""
    edges = np.linspace(0, people, processes + 1).astype(int)
    command = [sys.executable, __file__, "--worker", path]
    workers = [
        subprocess.Popen(
            [*command, *map(str, (part, *edges[part : part + 2]))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        for part in range(processes)
    ]  # fmt: skip
    for worker in workers:
        worker.stdout.readline()
    start = time.perf_counter()
    for worker in workers:
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.stdout.readline()
    seconds = time.perf_counter() - start
    for worker in workers:
        worker.communicate()
    return seconds


def _worker(path: Path, part: str, first: int, last: int) -> None:
    import fastcluster
    from scipy.cluster.hierarchy import fcluster

    stored = np.load(path)
    x, offsets = stored["x"], stored["offsets"]
    fcluster(fastcluster.linkage(x[:50], "ward"), 0.5, "distance")
    print("ready", flush=True)
    sys.stdin.readline()
    labels = [
        fcluster(
            fastcluster.linkage(x[offsets[u] : offsets[u + 1]], "ward"), ALPHA**0.5, "distance"
        )
        for u in range(first, last)
    ]
    print("done", flush=True)
    np.save(path.with_name(f"labels{part}.npy"), np.concatenate(labels))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _table(rows: list[dict[str, Any]]) -> str:
    names = ["wayline", "scipy", "fastcluster", "scikit-learn"]
    heads = ["m", "d", *names, "GEMM alone", "ratio", "same"]
    lines = ["".join(f"{head:>13}" for head in heads)]
    for row in rows:
        times = [f"{row['ms'][name]:.3f}" for name in names]
        cells = [row["m"], row["d"], *times, f"{row['gemm_ms']:.3f}", f"{row['ratio']:.2f}"]
        lines.append("".join(f"{cell:>13}" for cell in [*cells, str(row["same_partitions"])]))
    return "\n".join([*lines, "(milliseconds; ratio to the fastest of the others)"])


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 1 if partitions differ."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["--worker"]:
        _worker(Path(arguments[1]), arguments[2], int(arguments[3]), int(arguments[4]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--dimensions", type=int, nargs="*", default=list(DIMENSIONS))
    parser.add_argument("--people", type=int, default=2000, help="0 leaves the batch out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--effort", type=float, default=1.0, help="more turns, steadier figures")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "ward.json"
    )
    options = parser.parse_args(arguments)
    sizes, dimensions = tuple(options.sizes), tuple(options.dimensions)
    found = run(sizes, dimensions, options.people, options.threads, options.effort)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0 if all(row["same_partitions"] for row in found["one"] + found["many"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
