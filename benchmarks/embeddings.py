"""Measure item vectors and the index: which kind serves best, how fast each is made.

    python benchmarks/embeddings.py kinds     # the table that chose the default kind
    python benchmarks/embeddings.py speed     # MiniLM, the graph, the index

``kinds`` looks at the training periods of ../shared/check/protocol.py only: it cuts each once more,
at 80 % of its time (MovieLens: of each person's likes, since its clock is rating time), learns on
what lies before and asks for the new items after. Writes benchmarks/results/embeddings-*.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.cluster.hierarchy import fcluster, linkage

from wayline.embeddings import minilm
from wayline.embeddings.graph import graph_vectors
from wayline.embeddings.hybrid import hybrid_vectors, with_predictions
from wayline.embeddings.linear import principal_rows, unit_rows
from wayline.embeddings.text import item_text, text_vectors, tfidf_vectors

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SETS = ("online-retail", "movielens-small", "slackbuilds", "deskdrop")
CUTS = (10, 100, 400)
DAY_MS = 86_400_000


@dataclass
class Development:
    """One set's training period, cut again."""

    user_idx: np.ndarray
    item_idx: np.ndarray
    ts_ms: np.ndarray
    texts: list[str] | None
    categories: list[str | None] | None
    cases: list[tuple[int, np.ndarray]]  # user, the first ten new items after the cut
    n_items: int

    @property
    def worth(self) -> np.ndarray:
        return np.ones(len(self.user_idx), np.float32)


def development(name: str, max_cases: int) -> Development:
    """Load a set's training period and cut it."""
    sys.path.insert(0, str(SHARED / "check"))
    from protocol import positive, split

    by_person = name == "movielens-small"
    train, _ = split(SHARED / "data" / name, "loo" if by_person else "t80")
    wanted = positive(train, name).sort("ts", maintain_order=True)
    if by_person:
        rank = pl.int_range(pl.len()).over("user_id") < 0.8 * pl.len().over("user_id")
        before = wanted.select(rank.alias("before"))["before"]
    else:
        before = wanted["ts"] <= wanted["ts"].quantile(0.8)
    past, later = wanted.filter(before), wanted.filter(~before)
    item_of = {v: k for k, v in enumerate(sorted(set(wanted["item_id"])))}
    user_of = {v: k for k, v in enumerate(sorted(set(past["user_id"])))}
    user_idx = np.array([user_of[u] for u in past["user_id"]])
    item_idx = np.array([item_of[i] for i in past["item_id"]])
    order = np.lexsort((past["ts"].to_numpy(), user_idx))
    had: dict[int, set[int]] = {}
    for user, item in zip(user_idx.tolist(), item_idx.tolist(), strict=True):
        had.setdefault(user, set()).add(item)
    new: dict[int, list[int]] = {}
    for user_id, item_id in later.select("user_id", "item_id").unique(maintain_order=True).rows():
        user = user_of.get(user_id, -1)
        if len(had.get(user, ())) >= 5 and item_of[item_id] not in had[user]:
            new.setdefault(user, []).append(item_of[item_id])
    users = sorted(new)
    if len(users) > max_cases:
        users = sorted(np.random.default_rng(0).choice(users, max_cases, replace=False).tolist())
    texts, categories = _texts(SHARED / "data" / name / "items.parquet", list(item_of))
    return Development(
        user_idx[order], item_idx[order], past["ts"].to_numpy()[order], texts, categories,
        [(user, np.array(new[user][:10])) for user in users], len(item_of),
    )  # fmt: skip


def _texts(path: Path, item_ids: list[str]) -> tuple[list[str] | None, list[str | None] | None]:
    if not path.exists():
        return None, None
    rows = {row["item_id"]: row for row in pl.read_parquet(path).to_dicts()}
    found = [rows.get(item_id, {}) for item_id in item_ids]
    texts = [
        item_text(r.get("title"), r.get("category"), (r.get("tags") or "").split("|"),
                  r.get("description"))
        for r in found
    ]  # fmt: skip
    return texts, [r.get("category") for r in found] if "category" in found[0] else None


def measure(data: Development, vectors: np.ndarray, wide: np.ndarray | None) -> dict[str, float]:
    """Recall of the new items around the last item and around three Ward medoids."""
    usable = vectors.any(axis=1)
    warm = np.bincount(data.item_idx, minlength=data.n_items) > 0
    bounds = np.searchsorted(data.user_idx, np.arange(data.user_idx.max() + 2))
    hits: dict[str, list[float]] = {}
    for user, targets in data.cases:
        mine = data.item_idx[bounds[user] : bounds[user + 1]]
        times = data.ts_ms[bounds[user] : bounds[user + 1]]
        latest, first = np.unique(mine[::-1], return_index=True)
        order = np.argsort(first)[:300]
        items, ages = latest[order], (times[-1] - times[::-1][first[order]]) / DAY_MS
        kept = usable[items] & (ages <= 90)
        items, ages = items[kept], ages[kept]
        for name, queries in (("last", items[:1]), ("ward", _medoids(vectors, items, ages))):
            ranks = _ranks(vectors, usable, queries, mine, targets)
            for cut in CUTS:
                hits.setdefault(f"{name}@{cut}", []).append(float((ranks < cut).mean()))
            if name == "ward" and (~warm[targets]).any():
                hits.setdefault("cold@400", []).append(float((ranks[~warm[targets]] < 400).mean()))
            if name == "ward" and len(queries):
                near = (vectors[targets] @ vectors[queries].T).max(1) >= 0.8
                hits.setdefault("relevance", []).append(float(near.mean()))
    out = {name: round(float(np.mean(values)), 4) for name, values in hits.items()}
    return out | _coherence(data, vectors, usable & warm, usable, wide)


def _medoids(vectors: np.ndarray, items: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Medoids of the three most important Ward clusters (alpha 0.6, PinnerSage)."""
    if len(items) < 2:
        return items
    labels = fcluster(linkage(vectors[items], "ward"), np.sqrt(0.6), "distance") - 1
    importance = np.bincount(labels, weights=np.exp(-0.01 * ages))
    out = []
    for label in np.argsort(-importance)[:3]:
        members = items[labels == label]
        out.append(members[(vectors[members] @ vectors[members].T).sum(1).argmax()])
    return np.array(out)


def _ranks(
    vectors: np.ndarray,
    usable: np.ndarray,
    queries: np.ndarray,
    mine: np.ndarray,
    targets: np.ndarray,
) -> np.ndarray:
    """Where the targets stand when the queries' neighbour lists are merged in turn."""
    if not len(queries):
        return np.full(len(targets), len(vectors))
    scores = vectors @ vectors[queries].T
    scores[~usable] = scores[mine] = -9
    above = np.stack(
        [len(scores) - np.searchsorted(np.sort(s), s[targets], "right") for s in scores.T]
    )
    own = above.min(0)  # best place in any list; the merged place is about this times the lists
    return np.where(scores[targets].max(1) > -9, own * len(queries), len(vectors))


def _coherence(
    data: Development,
    vectors: np.ndarray,
    asked: np.ndarray,
    usable: np.ndarray,
    wide: np.ndarray | None,
) -> dict[str, float]:
    """How alike the ten nearest are by their texts (all 384 numbers) and categories."""
    if wide is None:
        return {}
    rng = np.random.default_rng(0)
    rows = rng.choice(np.flatnonzero(asked), min(500, int(asked.sum())), replace=False)
    scores = vectors[rows] @ vectors.T
    scores[:, ~usable] = scores[np.arange(len(rows)), rows] = -9
    nearest = np.argsort(-scores, axis=1)[:, :10]
    out = {"text": round(float(np.einsum("qd,qkd->qk", wide[rows], wide[nearest]).mean()), 3)}
    if data.categories is not None:
        names = np.array([c or "" for c in data.categories])
        out["category"] = round(float((names[rows][:, None] == names[nearest]).mean()), 3)
    return out


def candidates(data: Development, wide: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """Every kind tried, by name."""
    log = (data.user_idx, data.item_idx, data.ts_ms, data.worth, data.n_items)
    graph, _ = graph_vectors(*log)
    yield "graph", graph
    yield "graph, smoothing 0.75", graph_vectors(*log, smoothing=0.75)[0]
    yield "graph, window 20", graph_vectors(*log, window=20)[0]
    yield "graph, 200 neighbours", graph_vectors(*log, neighbours=200)[0]
    yield "graph, dim 32", graph_vectors(*log, dim=32)[0]
    yield "graph, dim 128", graph_vectors(*log, dim=128)[0]
    yield "SVD of users x items", user_item_svd(data)
    if wide is None:
        return
    assert data.texts is not None
    text = unit_rows(principal_rows(wide, 64))
    yield "text (MiniLM)", text
    yield "text (TF-IDF)", tfidf_vectors(data.texts, dim=64)
    averaged = unit_rows(text + unit_rows(neighbour_means(graph, text)))
    yield "text averaged over neighbours", averaged
    for weight in (0.0, 0.7, 1.3):
        yield f"hybrid, text x {weight}", hybrid_vectors(text, graph, text_weight=weight)[0]
    yield "hybrid", hybrid_vectors(text, graph)[0]
    yield "hybrid, cold at full length", full_length(text, graph)
    yield "hybrid, support prior 2", with_prior(data, text, graph)
    for dim in (32, 128):
        small = unit_rows(principal_rows(wide, dim)), graph_vectors(*log, dim=dim)[0]
        yield f"hybrid, dim {dim}", hybrid_vectors(*small, dim=dim)[0]


def user_item_svd(data: Development) -> np.ndarray:
    """PureSVD of the popularity-scaled matrix: no pairs, no order."""
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import svds

    shape = (int(data.user_idx.max()) + 1, data.n_items)
    counts = csr_matrix((data.worth, (data.user_idx, data.item_idx)), shape=shape)
    counts.data[:] = 1
    scales = [np.maximum(np.asarray(counts.sum(axis)).ravel(), 1) ** -0.5 for axis in (1, 0)]
    scaled = (diags(scales[0]) @ counts @ diags(scales[1])).tocsr()
    _, values, items = svds(scaled.astype(np.float64), k=64, v0=np.ones(min(shape)))
    return unit_rows((items.T * np.sqrt(values)).astype(np.float32))


def neighbour_means(graph: np.ndarray, text: np.ndarray) -> np.ndarray:
    """PinSage's importance pooling without its learning: mean text of 30 graph neighbours."""
    scores = graph @ graph.T
    nearest = np.argpartition(-scores, 30, axis=1)[:, :30]
    return text[nearest].mean(1) * graph.any(1)[:, None]


def full_length(text: np.ndarray, graph: np.ndarray) -> np.ndarray:
    """The hybrid with predictions scaled up to unit length."""
    rows = np.concatenate([text, unit_rows(with_predictions(text, graph))], axis=1)
    return unit_rows(principal_rows(rows, 64))


def with_prior(data: Development, text: np.ndarray, graph: np.ndarray) -> np.ndarray:
    """The hybrid with little-used items drawn towards their prediction."""
    support = np.bincount(data.item_idx, minlength=data.n_items)[:, None].astype(np.float32)
    known = graph.any(1)
    predicted = with_predictions(text, graph)
    for half in (known & (np.arange(len(text)) % 2 == k) for k in (0, 1)):
        hidden = graph.copy()
        hidden[half] = 0  # predicted by the other half, as a cold item is
        predicted[half] = with_predictions(text, hidden)[half]
    mixed = unit_rows((support * graph + 2 * predicted) / (support + 2))
    return hybrid_vectors(text, np.where(known[:, None], mixed, 0))[0]


def kinds(names: list[str], max_cases: int) -> dict[str, Any]:
    """The table that chose the default."""
    out: dict[str, Any] = {}
    for name in names:
        data = development(name, max_cases)
        wide = None
        if data.texts is not None:
            wide = text_vectors(data.texts, dim=minilm.WIDTH).vectors
        print(f"\n{name}: {data.n_items} items, {len(data.cases)} people", flush=True)
        out[name] = {"items": data.n_items, "people": len(data.cases)}
        for label, vectors in candidates(data, wide):
            row = measure(data, vectors, wide)
            out[name][label] = row
            print(f"{label:32s}" + "".join(f"{k} {v:<8}" for k, v in row.items()), flush=True)
    return out


def best_of(times: int, run: Callable[[], object]) -> float:
    """The shortest of some runs, in seconds."""
    spans = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        spans.append(time.perf_counter() - began)
    return min(spans)


def speed() -> dict[str, Any]:
    """Seconds of each part beside the plain way, in turn in this process."""
    out = {"text": _text_speed(), "graph": _graph_speed(), "index": _index_speed()}
    print(json.dumps(out, indent=2))
    return out


def _text_speed() -> dict[str, float]:
    from sentence_transformers import SentenceTransformer

    package = minilm.find_package()
    assert package is not None
    items = pl.read_parquet(SHARED / "data" / "online-retail" / "items.parquet")
    texts = sorted(set(items["title"].to_list()))
    library = SentenceTransformer(str(package), device="cpu", local_files_only=True)
    half, single = minilm.MiniLM(package), minilm.MiniLM(package, bf16=False)
    some = texts[::8]
    pairs = [
        (
            best_of(1, lambda: half.encode(some)),
            best_of(1, lambda: single.encode(some)),
            best_of(1, lambda: library.encode(some, batch_size=64)),
        )
        for _ in range(5)
    ]
    ours, full, theirs = np.median(pairs, axis=0)
    cosines = (half.encode(texts) * single.encode(texts)).sum(1)
    return {
        "all titles": len(texts),
        "seconds for all": round(best_of(1, lambda: half.encode(texts)), 2),
        "titles a second": round(len(some) / ours),
        "float32, titles a second": round(len(some) / full),
        "sentence-transformers, titles a second": round(len(some) / theirs),
        "ratio": round(theirs / ours, 2),
        "lowest cosine of bf16 to float32": round(float(cosines.min()), 5),
    }


def _graph_speed() -> dict[str, float]:
    rng = np.random.default_rng(0)
    n_actions, n_users, n_items = 5_000_000, 100_000, 100_000
    user = rng.integers(0, n_users, n_actions)
    user[:64_000] = np.arange(64_000) // 16_000  # four people of 16,000 actions
    popular = (rng.pareto(1.2, n_actions) * 20).astype(np.int64) % 2000
    item = ((user % 50) * 2000 + popular) % n_items  # 50 themes of 2,000 items
    stray = rng.random(n_actions) < 0.2
    item[stray] = rng.integers(0, n_items, int(stray.sum()))
    ts_ms, worth = rng.integers(0, 10**10, n_actions), np.ones(n_actions, np.float32)
    graph_vectors(user[:1000] % 9, item[:1000], ts_ms[:1000], worth[:1000], n_items)  # compile
    began, cpu_began = time.perf_counter(), time.process_time()
    graph_vectors(user, item, ts_ms, worth, n_items)
    return {
        "processor seconds": round(time.process_time() - cpu_began, 1),
        "actions": n_actions,
        "items": n_items,
        "seconds": round(time.perf_counter() - began, 1),
        "peak MiB of the process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _index_speed() -> dict[str, Any]:
    from wayline.storage.usearch_index import UsearchIndex

    rng = np.random.default_rng(0)
    out: dict[str, Any] = {}
    data = development("online-retail", 10)
    real, known = graph_vectors(data.user_idx, data.item_idx, data.ts_ms, data.worth, data.n_items)
    centres = rng.normal(size=(500, 64))
    noise = 0.7 * rng.normal(size=(100_000, 64))
    clustered = (centres[rng.integers(0, 500, len(noise))] + noise).astype(np.float32)
    for name, vectors in (("online-retail", real[known]), ("100,000 clustered", clustered)):
        vectors = unit_rows(vectors)  # noqa: PLW2901 (the same rows, scaled)
        began = time.perf_counter()
        index = UsearchIndex.build(np.arange(len(vectors)), vectors)
        build_s = time.perf_counter() - began
        queries = vectors[rng.choice(len(vectors), 300, replace=False)]
        exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :200]
        with tempfile.TemporaryDirectory() as folder:
            index.save(Path(folder) / "index")
            size = (Path(folder) / "index").stat().st_size
            viewed = UsearchIndex.view(Path(folder) / "index")
            found = viewed.search(queries, 200)
            triples = [queries[k : k + 3] for k in range(0, 300, 3)]
            spans = [best_of(1, partial(viewed.search, q, 200)) for q in triples * 3]
            plain = [best_of(1, partial(exact_search, vectors, q)) for q in triples]
        out[name] = {
            "build seconds": round(build_s, 2),
            "bytes an item": round(size / len(vectors)),
            "recall@100": round(_shared(found.keys, exact, 100), 4),
            "recall@200": round(_shared(found.keys, exact, 200), 4),
            "3 x 200, p50 ms": round(1e3 * float(np.median(spans)), 3),
            "3 x 200, p99 ms": round(1e3 * float(np.quantile(spans, 0.99)), 3),
            "numpy exact, p50 ms": round(1e3 * float(np.median(plain)), 3),
        }
    return out


def exact_search(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """What the index replaces."""
    return np.argpartition(-(queries @ vectors.T), 200, axis=1)[:, :200]


def _shared(found: np.ndarray, exact: np.ndarray, k: int) -> float:
    return float(np.mean([np.isin(a[:k], b[:k]).mean() for a, b in zip(found, exact, strict=True)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("kinds", "speed"))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--people", type=int, default=400)
    args = parser.parse_args()
    result = kinds(args.sets, args.people) if args.what == "kinds" else speed()
    target = ROOT / "benchmarks" / "results" / f"embeddings-{args.what}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
