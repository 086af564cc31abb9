"""PinnerSage's offline protocol on real logs: lifts over "last item" as the paper's table 3.

    python benchmarks/pinnersage.py [FOLDER ...] [--kinds text,graph,hybrid] [--seeds 2]
        [--users 60] [--planted] [--json OUT] [--markdown OUT]

FOLDER holds actions.parquet (user_id, item_id, ts, action) and items.parquet (item_id, title, ...).
Item vectors come from texts, or from actions before the walk's first step. A walk of the same
length before it, with the same vectors, chooses the cut of complete linkage.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from wayline.clock import DAY_MS
from wayline.config import EmbeddingsConfig
from wayline.embeddings.build import Interactions, build_embeddings
from wayline.embeddings.text import item_text
from wayline.evaluation.history import unit
from wayline.evaluation.pinnersage import METRICS, WalkLog, WalkOptions, WalkReport, walk_forward
from wayline.evaluation.representations import (
    Clusters,
    CompleteLinkage,
    DecayedMean,
    KMeans,
    LastItem,
    Person,
    Ward,
    draw,
    paper_methods,
)
from wayline.evaluation.splits import in_time_order
from wayline.schema import FloatMatrix

ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 2.0, 4.0)
COMPLETE = (0.8, 1.2, 1.6)
DECAYS = (0.0, 0.01, 0.1)


@dataclass(frozen=True)
class Walk:
    """What counts on a set and how it is walked: sparse logs take longer steps."""

    positive: tuple[str, ...] | None
    step_days: float
    steps: int


WALKS = {
    "online-retail": Walk(("buy",), 7, 8),
    "slackbuilds": Walk(None, 28, 13),
}
DEFAULT = Walk(None, 7, 8)


class Log:
    """One set as arrays, with texts."""

    def __init__(self, folder: Path, walk: Walk) -> None:
        actions = in_time_order(pl.read_parquet(folder / "actions.parquet"))
        if walk.positive:
            actions = actions.filter(pl.col("action").is_in(walk.positive))
        items = pl.read_parquet(folder / "items.parquet")
        self.item_ids = sorted(set(actions["item_id"]) | set(items["item_id"]))
        item_of = {v: k for k, v in enumerate(self.item_ids)}
        user_of = {v: k for k, v in enumerate(sorted(set(actions["user_id"])))}
        self.user = np.array([user_of[u] for u in actions["user_id"]], dtype=np.int32)
        self.item = np.array([item_of[i] for i in actions["item_id"]], dtype=np.int32)
        self.ts = actions["ts"].to_numpy().astype(np.int64)
        row_of = {row["item_id"]: row for row in items.rows(named=True)}
        self.texts = [text_of(row_of.get(item, {})) for item in self.item_ids]

    def walk_log(self, kind: str, start_ms: int, cache: Path) -> WalkLog:
        """The log with vectors made from texts and from actions before ``start_ms`` only."""
        before = self.ts < start_ms
        made = build_embeddings(
            self.texts,
            Interactions(
                self.user[before],
                self.item[before],
                self.ts[before],
                np.ones(int(before.sum()), np.float32),
            ),
            EmbeddingsConfig(kind=kind),
            cache_path=cache,
        )
        vectors = np.where(made.usable[:, None], made.vectors, 0).astype(np.float32)
        return WalkLog(self.user, self.item, self.ts, unit(vectors))


def text_of(row: dict[str, str]) -> str:
    """An item's text from whatever columns there are."""
    tags = row.get("tags") or ()
    tags = tags.split("|") if isinstance(tags, str) else tags
    return item_text(row.get("title"), row.get("category"), tags, row.get("description"))


def planted(dim: int, people: int = 200, filler: int = 10_000, seed: int = 0) -> WalkLog:
    """A made log where people do have 2 to 9 tight interests, unequal and spread over the sphere.

    With ``dim`` 8 and filler the catalogue is full: something lies between any two interests, as
    in a catalogue of billions. With ``dim`` 64 and none it is empty, as a shop's is.
    """
    topics, each = 400, 25
    rng = np.random.default_rng(seed)
    centre = unit(rng.standard_normal((topics, dim)).astype(np.float32))
    noise = 0.2 / np.sqrt(dim) * rng.standard_normal((topics * each, dim))
    tight = np.repeat(centre, each, axis=0) + noise
    vectors = unit(np.concatenate([tight, rng.standard_normal((filler, dim))]).astype(np.float32))
    rows: list[tuple[int, int, int]] = []
    for user in range(people):
        mine = rng.choice(topics, rng.integers(2, 10), replace=False) * each
        share = rng.dirichlet(np.ones(len(mine)))
        days = rng.integers(0, 98, size=rng.integers(40, 120))
        items = rng.choice(mine, size=len(days), p=share) + rng.integers(each, size=len(days))
        rows += zip(days.tolist(), [user] * len(days), items.tolist(), strict=True)
    day, user_idx, item_idx = np.array(sorted(rows)).T
    return WalkLog(
        user_idx.astype(np.int32), item_idx.astype(np.int32), day.astype(np.int64) * DAY_MS, vectors
    )


def methods_of(cut_sq: float) -> dict[str, object]:
    """The paper's rows, and k-means with all its medoids beside Ward with all of its."""
    return {
        **paper_methods(complete_sq=cut_sq),
        "k-means(5), medoid, all": Clusters(KMeans(5), sample=None),
    }


def choose_cut(log: WalkLog, options: WalkOptions) -> float:
    """The cut of complete linkage with the best relevance before the walk: its best chance."""
    span = int(options.steps * options.step_days * DAY_MS)
    earlier = replace(
        options, start_ms=options.start_ms - span, users_per_step=options.users_per_step // 2
    )
    tried = {str(cut): Clusters(CompleteLinkage(cut)) for cut in COMPLETE}
    report = walk_forward(log, tried, earlier)
    return float(max(tried, key=lambda name: report.figures[name][:, 0].mean()))


def sweeps() -> dict[str, object]:
    """Alpha with 3 and with all medoids, decay at two alphas."""
    out: dict[str, object] = {"last item": LastItem()}
    for alpha in ALPHAS:
        out[f"alpha {alpha}, 3"] = Clusters(Ward(alpha))
        out[f"alpha {alpha}, all"] = Clusters(Ward(alpha), sample=None)
    for alpha in (0.6, 4.0):
        for decay in DECAYS:
            out[f"alpha {alpha}, 3, decay {decay}"] = Clusters(Ward(alpha), decay_per_day=decay)
    return out


def table(reports: list[WalkReport]) -> list[str]:
    """Lifts over last item: the first seed's with intervals, and each seed's for relevance."""
    first = reports[0]
    lines = [
        "| method | vectors | relevance | recall | R-precision | reciprocal rank | by seed |",
        "|---|---|---|---|---|---|---|",
    ]
    base = first.figures["last item"].mean(0)
    for name in first.figures:
        if name == "last item":
            cells = [f"{value:.3f}" for value in base]
            spread = ""
        else:
            cells = [
                f"{100 * lift.value:+.0f} % ({100 * lift.low:+.0f} to {100 * lift.high:+.0f})"
                for lift in first.lifts(name, "last item")
            ]
            over = [100 * r.lifts(name, "last item")[0].value for r in reports]
            spread = " ".join(f"{value:+.0f}" for value in over)
        lines.append(f"| {name} | {first.queries[name]:.1f} | {' | '.join(cells)} | {spread} |")
    return lines


def versus(report: WalkReport, method: str, others: list[str]) -> list[str]:
    """Paired lifts of one method over others: does the paper's order hold?"""
    lines = [
        f"| {method} over | relevance | recall | R-precision | reciprocal rank |",
        "|---|---|---|---|---|",
    ]
    for other in others:
        cells = [
            f"{100 * x.value:+.0f} % ({100 * x.low:+.0f} to {100 * x.high:+.0f})"
            for x in report.lifts(method, other)
        ]
        lines.append(f"| {other} | {' | '.join(cells)} |")
    return lines


def as_json(reports: list[WalkReport]) -> list[dict[str, object]]:
    """Means of every method and seed."""
    return [
        {
            "cases": report.cases,
            "methods": {
                name: dict(
                    zip(METRICS, rows.mean(0).round(4).tolist(), strict=True),
                    vectors=round(report.queries[name], 2),
                )
                for name, rows in report.figures.items()
            },
        }
        for report in reports
    ]


class Output:
    """Prints lines, and keeps them for the file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        print(*lines, sep="\n", flush=True)
        self.lines += lines


@dataclass
class Weighed:
    """Clusters that note how many there are, and what share of the weight the drawn ones carry."""

    inner: Clusters
    clusters: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def queries(self, person: Person) -> FloatMatrix:
        labels = person.labels(self.inner.by)
        decayed = np.exp(-self.inner.decay_per_day * person.age_days)
        weight = np.bincount(labels, decayed)
        drawn = draw(weight, self.inner.sample, np.random.default_rng(person.seed))
        self.clusters.append(len(weight))
        self.shares.append(float(weight[drawn].sum() / weight.sum()))
        return self.inner.queries(person)


def why(title: str, log: WalkLog, options: WalkOptions, out: Output) -> None:
    """On the walk before: how much of a history three medoids carry, beside what they reach."""
    span = int(options.steps * options.step_days * DAY_MS)
    methods = {
        "k-means(5), 3": Weighed(Clusters(KMeans(5))),
        "Ward 0.6, 3": Weighed(Clusters(Ward(0.6))),
        "Ward 2, 3": Weighed(Clusters(Ward(2.0))),
        "Ward 4, 3": Weighed(Clusters(Ward(4.0))),
        "Ward 2, all": Weighed(Clusters(Ward(2.0), sample=None)),
    }
    earlier = replace(options, start_ms=options.start_ms - span)
    report = walk_forward(log, {"decayed mean": DecayedMean(), **methods}, earlier)
    out.say(
        f"### {title}: what three medoids carry (the walk before)",
        "",
        "| method | clusters a person | share of the history's weight | relevance | recall |",
        "|---|---|---|---|---|",
        f"| decayed mean | 1 | 100 % | {_two(report, 'decayed mean')} |",
        *(
            f"| {name} | {np.mean(m.clusters):.1f} | {np.mean(m.shares):.0%} | {_two(report, name)} |"
            for name, m in methods.items()
        ),
        "",
    )


def _two(report: WalkReport, name: str) -> str:
    return " | ".join(f"{value:.3f}" for value in report.figures[name].mean(0)[:2])


RIVALS = [
    "last item",
    "decayed mean (0.01)",
    "k-means(5), medoid, 3",
    "complete linkage, medoid, 3",
]


def measure(
    title: str, log: WalkLog, options: WalkOptions, seeds: int, out: Output
) -> dict[str, object]:
    """Run all methods for each seed and print the tables."""
    begun = time.perf_counter()
    cut = choose_cut(log, options)
    reports = [
        walk_forward(log, methods_of(cut), replace(options, seed=seed)) for seed in range(seeds)
    ]
    out.say(
        f"### {title}",
        "",
        f"{reports[0].cases:,} cases a seed ({options.steps} steps of {options.step_days:g} days, at "
        f"most {options.users_per_step} people each), {options.candidates} of "
        f"{len(log.vectors):,} items named; complete linkage cut at {cut:g}; {reports[0].notes[0]}.",
        "",
        *table(reports),
        "",
        *versus(reports[0], "Ward, medoid, 3", RIVALS),
        "",
        *versus(reports[0], "Ward, medoid, all", [*RIVALS[1:], "k-means(5), medoid, all"]),
        "",
    )
    print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    return {"title": title, "complete_cut_sq": cut, "seeds": as_json(reports)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--kinds", default="text,graph,hybrid")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument(
        "--planted", action="store_true", help="also a made log where the paper's premise holds"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where text vectors are kept",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    out, results = Output(), []
    if args.planted:
        options = WalkOptions(90 * DAY_MS, steps=1, candidates=120)
        for fill, dim, filler in (("full", 8, 10_000), ("empty", 64, 0)):
            made, title = planted(dim, filler=filler), f"A made log, {fill} catalogue"
            results.append(measure(title, made, options, args.seeds, out))
    for folder in args.folders:
        walk = WALKS.get(folder.name, DEFAULT)
        log = Log(folder, walk)
        start = int(log.ts[-1] - walk.steps * walk.step_days * DAY_MS)
        options = WalkOptions(
            start,
            steps=walk.steps,
            step_days=walk.step_days,
            users_per_step=args.users,
            max_actions=500,
        )
        for kind in args.kinds.split(","):
            walk_log = log.walk_log(kind, start, args.cache / f"pinnersage-{folder.name}.npz")
            title = f"{folder.name}, {kind} vectors"
            results.append(measure(title, walk_log, options, args.seeds, out))
            why(title, walk_log, options, out)
        report = walk_forward(walk_log, sweeps(), options)
        out.say(f"### {folder.name}, {kind} vectors: alpha and decay", "", *table([report]), "")
        results.append({"title": f"{folder.name} sweeps", "seeds": as_json([report])})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    if args.markdown:
        args.markdown.write_text("\n".join(out.lines))


if __name__ == "__main__":
    main()
