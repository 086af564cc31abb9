"""From finished runs to tables: lifts with intervals, the published direction beside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wayline.evaluation.hits import grouped_auc, hits, per_user
from wayline.evaluation.intervals import Interval, paired_difference, ratio_lift
from wayline.evaluation.metrics import diversity

from .arms import TABLES, Entry
from .requests import Sizes
from .runs import Asked, path_of, read_task
from .training import Training

TOP = 3
BANDS = ((0, 100), (100, 1_000), (1_000, 4_000), (4_000, 1 << 40))


@dataclass(frozen=True)
class Measured:
    """One arm on one set, the mean over its seeds."""

    seeds: int
    hit: np.ndarray  # [R, H] expected labelled candidates among the first three by the utility
    auc: np.ndarray  # [R] wanted above unwanted by the utility; NaN where a request has one class
    diverse: np.ndarray  # [R] of the first three
    seconds: float
    by_seed: list[float]  # gAUC


def measure(
    name: str, entry: Entry, asked: Asked, training: Training, sizes: Sizes, seeds: int
) -> Measured | None:
    """Read the runs of an arm; None where there is none."""
    hit, auc, diverse, seconds = [], [], [], []
    n, c, _ = asked.label.shape
    request = np.repeat(np.arange(n), c)
    wanted = (asked.label @ asked.weights > 0).ravel()
    for seed in range(seeds):
        path = path_of(name, entry.arm, training, sizes, seed)
        if not path.exists():
            continue
        with np.load(path) as run:
            score = run["probability"] @ asked.weights
            seconds.append(float(run["seconds"]))
        hit.append(hits(score.ravel(), asked.label.reshape(n * c, -1), request, k=TOP))
        auc.append(grouped_auc(score.ravel(), wanted, request))
        first = np.argsort(-score, axis=1)[:, :TOP]
        lists = np.arange(n)[:, None] * c + first
        diverse.append(diversity(lists, asked.vector.reshape(n * c, -1)))
    if not hit:
        return None
    by_seed = [float(np.nanmean(values)) for values in auc]
    return Measured(
        len(hit),
        np.mean(hit, axis=0),
        np.mean(auc, axis=0),
        np.mean(diverse, axis=0),
        float(np.mean(seconds)),
        by_seed,
    )


def compare(asked: Asked, mine: Measured, other: Measured) -> dict[str, Any]:
    """Lifts of one arm over another, people resampled; differences of means over requests per person."""
    out: dict[str, Any] = {"heads": {}}
    for h, head in enumerate(asked.heads.tolist()):
        if asked.label[..., h].sum() < 50:  # too few to say anything of
            continue
        a, b = per_user(mine.hit[:, h], asked.user_idx), per_user(other.hit[:, h], asked.user_idx)
        out["heads"][head] = {
            **ratio_lift(a, b).to_dict(),
            "hit_at_3": float(a.mean()),
        }
    for title, a, b in (
        ("gauc", mine.auc, other.auc),
        ("diversity", mine.diverse, other.diverse),
    ):
        out[title] = _by_person(a, b, asked.user_idx)
        out[f"{title}_value"] = float(np.nanmean(a))
    return out


def _by_person(a: np.ndarray, b: np.ndarray, user_idx: np.ndarray) -> dict[str, float]:
    """Mean difference over requests with its interval over people: sums and counts resampled together."""
    there = np.isfinite(a) & np.isfinite(b)
    delta = per_user((a - b)[there], user_idx[there])
    count = per_user(np.ones(int(there.sum())), user_idx[there])
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(delta), np.full(len(delta), 1 / len(delta)), size=1000)
    means = (drawn @ delta) / np.maximum(drawn @ count, 1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(delta.sum() / count.sum()), float(low), float(high)).to_dict()


def report(
    names: list[str], training: Training, sizes: dict[str, Sizes], seeds: int
) -> dict[str, Any]:
    """Everything that has been run, as plain values."""
    out: dict[str, Any] = {"seeds": seeds, "tables": {}, "sets": {}}
    for name in names:
        asked = read_task(name, sizes[name])
        if asked is None:
            continue
        known: dict[str, Measured | None] = {}
        for table in TABLES.values():
            for entry in table:
                known[entry.arm.name] = measure(name, entry, asked, training, sizes[name], seeds)
        out["sets"][name] = _describe(asked)
        for title, table in TABLES.items():
            rows = [_row(name, e, asked, known) for e in table if name in e.sets]
            found = [row for row in rows if row is not None]
            if found:
                out["tables"].setdefault(title, {})[name] = found
        out["sets"][name]["by_history"] = _by_history(asked, known)
    return out


def _describe(asked: Asked) -> dict[str, Any]:
    return {
        "test_requests": len(asked.user_idx),
        "test_people": len(np.unique(asked.user_idx)),
        "labels": dict(zip(asked.heads.tolist(), asked.label.sum((0, 1)).tolist(), strict=True)),
        "median_history": float(np.median(asked.history)),
    }


def _row(
    name: str, entry: Entry, asked: Asked, known: dict[str, Measured | None]
) -> dict[str, Any] | None:
    mine, other = known[entry.arm.name], known.get(entry.against)
    if mine is None or other is None:
        return None
    return {
        "arm": entry.arm.name,
        "against": entry.against,
        "published": entry.published,
        "seeds": mine.seeds,
        "gauc_by_seed": mine.by_seed,
        "train_cpu_s": round(mine.seconds, 1),
        **compare(asked, mine, other),
    }


def _by_history(asked: Asked, known: dict[str, Measured | None]) -> list[dict[str, Any]]:
    """gAUC by how long the person's history is; the interval is over requests, the people of a band are few."""
    out = []
    for low, high in BANDS:
        band = (asked.history >= low) & (asked.history < high)
        if band.sum() < 30:
            continue
        row: dict[str, Any] = {
            "from": low,
            "requests": int(band.sum()),
            "people": len(np.unique(asked.user_idx[band])),
            "gauc": {},
        }
        base = known.get("V2, selection")
        for arm, measured in known.items():
            if measured is None:
                continue
            values = measured.auc[band]
            row["gauc"][arm] = float(np.nanmean(values))
            if base is not None:
                there = np.isfinite(values) & np.isfinite(base.auc[band])
                found = paired_difference(base.auc[band][there], values[there])
                row.setdefault("selection_ahead", {})[arm] = found.interval.to_dict()
        out.append(row)
    return out


def markdown(found: dict[str, Any]) -> str:
    """The tables as a page's text."""
    lines: list[str] = []
    for title, sets in found["tables"].items():
        lines += [f"### {title}", ""]
        for name, rows in sets.items():
            heads = list(rows[0]["heads"])
            cells = ["arm", "held against", *(f"HIT@3 {h}" for h in heads), "gAUC: points"]
            cells += ["first three: diversity", "published"]
            lines += [
                f"**{name}**, {rows[0]['seeds']} seeds",
                "",
                _line(cells),
                _line(["---"] * len(cells)),
            ]
            for row in rows:
                itself = row["arm"] == row["against"]
                middle = [
                    f"{row['heads'][h]['hit_at_3']:.3f}" if itself else _lift(row["heads"][h])
                    for h in heads
                ]
                gauc = f"{row['gauc_value']:.4f}" + ("" if itself else f": {_points(row['gauc'])}")
                diverse = f"{row['diversity_value']:.3f}" if itself else _points(row["diversity"])
                lines.append(
                    _line([row["arm"], row["against"], *middle, gauc, diverse, row["published"]])
                )
            lines.append("")
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mark(low: float, high: float, text: str) -> str:
    """Bold where the interval leaves out no difference."""
    return f"**{text}**" if low > 0 or high < 0 else text


def _lift(values: dict[str, float]) -> str:
    v, low, high = (100 * values[k] for k in ("value", "low", "high"))
    return _mark(low, high, f"{v:+.1f} % ({low:+.1f} to {high:+.1f})")


def _points(values: dict[str, float]) -> str:
    v, low, high = (100 * values[k] for k in ("value", "low", "high"))
    return _mark(low, high, f"{v:+.2f} ({low:+.2f} to {high:+.2f})")
