"""The next-item model on the S3-Rec files, leave-one-out, full ranking, beside popularity and published figures.

``python benchmarks/s3rec.py`` (or ``wayline bench s3rec``) prints a table and writes ``results/s3rec.json``. Protocol:
each person's last item is the test target and the one before it the validation target; at test time the validation item
is part of the history; the whole catalogue is ranked, items of the history left out, ties count half. The epoch is the
best by validation NDCG@10 and the settings below were chosen by validation alone; the test targets are read twice for
each seed: by the model of that epoch, which never trained on a validation item (as in the published rows), and by the
one that ``fit_next_item`` gives, which goes on for ``refit_epochs`` with them. ``--validate`` never reads them. The
files hold no times: the order of a sequence stands for them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from wayline.retrieval.next_item.config import NextItemConfig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# Everybody's newest training item is a validation target; the files hold no times.
EVERYBODY = NextItemConfig(
    validation_users=10**9,
    validation_share=1.0,
    max_len=50,
    time_features=False,
    dropout=0.5,
    temperature=0.1,
)
CONFIGS = {
    "beauty": replace(
        EVERYBODY, dim=128, batch_users=128, average=0.999, patience=6, refit_epochs=10
    ),
    "lastfm": replace(EVERYBODY, dim=64, batch_users=32, average=0.99, patience=12),
}
PUBLISHED = {  # HR@10, NDCG@10 on the same files; who measured
    "beauty": {
        "popularity": (0.0152, 0.0068, "S3-Rec repository"),
        "SASRec": (0.0605, 0.0318, "S3-Rec repository"),
        "S3-Rec": (0.0647, 0.0327, "S3-Rec repository"),
        "DuoRec": (0.0845, 0.0443, "blondered/transformer_benchmark, reported"),
        "SASRec + sampled softmax": (0.0921, 0.0531, "blondered/transformer_benchmark"),
        "eSASRec": (0.0928, 0.0523, "blondered/transformer_benchmark"),
    },
    "lastfm": {
        "popularity": (0.0440, 0.0203, "S3-Rec repository"),
        "SASRec": (0.0688, 0.0390, "S3-Rec repository"),
        "S3-Rec": (0.0743, 0.0427, "S3-Rec repository"),
    },
}


def read(actions: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Users, items and places in the sequence as numbers, and how many items there are."""
    import polars as pl

    log = pl.read_parquet(actions)
    _, user = np.unique(log["user_id"].to_numpy(), return_inverse=True)
    items, item = np.unique(log["item_id"].to_numpy(), return_inverse=True)
    return user, item, log["ts"].to_numpy(), len(items)


def popularity(sequences: Any, held: Any, n_items: int) -> tuple[float, float]:
    """HR@10 and NDCG@10 of what most people have, all but each one's last item counted."""
    from wayline.retrieval.next_item.validation import hit_and_gain

    everybody = np.arange(len(sequences))
    count = np.bincount(sequences.without_last(everybody).item_idx, minlength=n_items)
    ranks = np.zeros(len(held))
    for b, (seen, target) in enumerate(zip(held.histories, held.target_idx, strict=True)):
        left = count.astype(float)
        wanted = left[target]
        left[seen] = -np.inf
        ranks[b] = (left > wanted).sum() + ((left == wanted).sum() - 1) / 2
    return hit_and_gain(ranks)


def fit_one(
    sequences: Any, n_items: int, config: NextItemConfig, seed: int, report: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """Train on all but each person's last two items; the fit at its end and how it came there."""
    from wayline.retrieval.next_item.training import NextItemTraining

    everybody = np.arange(len(sequences))
    began, load = time.perf_counter(), os.getloadavg()[0]
    fit = NextItemTraining(sequences.without_last(everybody), n_items, config, seed=seed)
    curve = []
    while not fit.finished:
        loss, hit, gain = fit.run_epoch()
        curve.append((hit, gain))
        report(
            f"  seed {seed} epoch {fit.epoch:3d}  loss {loss:.3f}  validation HR@10 {hit:.4f}  NDCG@10 {gain:.4f}  "
            f"{time.perf_counter() - began:.0f} s"
        )
    best = int(np.argmax([gain for _, gain in curve]))
    return fit, {
        "seed": seed,
        "epoch": best + 1,
        "epochs": len(curve),
        "validation": curve[best],
        "seconds": round(time.perf_counter() - began, 1),
        "load_before_after": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def query_speed(model: Any, histories: list[np.ndarray], turns: int = 200) -> dict[str, float]:
    """Milliseconds for one query, numpy beside torch in turns, and the ratio; one thread."""
    import torch

    from wayline.retrieval.next_item.model import NextItemNet

    net = NextItemNet(model.n_items, model.config).eval()
    net.load_state_dict({name: torch.from_numpy(w) for name, w in model.arrays().items()})
    seconds: dict[str, list[float]] = {"numpy": [], "torch": []}
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        for which in rng.integers(len(histories), size=turns):
            items = histories[which][-model.config.max_len :]
            tensor = torch.from_numpy(items)[None]
            for name, ask in (
                ("numpy", lambda i=items: model.query(i)),
                ("torch", lambda t=tensor: net(t)[0, -1]),
            ):
                begin = time.perf_counter()
                ask()
                seconds[name].append(time.perf_counter() - begin)
    pairs = np.array(seconds["torch"]) / np.array(seconds["numpy"])
    return {f"{name}_ms": 1e3 * float(np.median(took)) for name, took in seconds.items()} | {
        "torch_by_numpy": float(np.median(pairs))
    }


def run(
    name: str,
    folder: Path,
    config: NextItemConfig,
    seeds: list[int],
    *,
    validate_only: bool,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure one data set; gives what is written to the JSON file."""
    from wayline.retrieval.next_item.sequences import Sequences
    from wayline.retrieval.next_item.validation import Held, hit_and_gain, target_ranks

    user, item, place, n_items = read(folder / "actions.parquet")
    sequences = Sequences.of(user, item, place)
    report(f"{name}: {len(sequences)} people, {n_items} items, {len(sequences.item_idx)} actions")
    test = Held.last_of(sequences, np.arange(len(sequences)))
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        fit, row = fit_one(sequences, n_items, config, seed, report)
        model = fit.best()
        if not validate_only:
            row["test"] = hit_and_gain(target_ranks(model, test))
            row["test_refit"] = hit_and_gain(target_ranks(fit.refit(), test))
        rows.append(row)
    found: dict[str, Any] = {"config": asdict(config), "seeds": rows}
    report(f"{'':34s}{'HR@10':>8s}{'NDCG@10':>9s}")
    if not validate_only:
        found["popularity"] = popularity(sequences, test, n_items)
        found["published"] = PUBLISHED[name]
        for who, (hit, gain, source) in PUBLISHED[name].items():
            report(f"{who:34s}{hit:8.4f}{gain:9.4f}  {source}")
        report("{:34s}{:8.4f}{:9.4f}".format("popularity, measured here", *found["popularity"]))
    for part in ("validation",) if validate_only else ("validation", "test", "test_refit"):
        scores = np.array([row[part] for row in rows])
        found[f"mean_{part}"] = scores.mean(0).tolist()
        for row in rows:
            shown = f"wayline {part}, seed {row['seed']}"
            report(
                f"{shown:34s}{row[part][0]:8.4f}{row[part][1]:9.4f}  epoch {row['epoch']}, {row['seconds']:.0f} s"
            )
        shown = f"wayline {part}, mean"
        report("{:34s}{:8.4f}{:9.4f}".format(shown, *found[f"mean_{part}"]))
    found["query"] = query_speed(model, list(test.histories))
    report(
        "one query: numpy {numpy_ms:.2f} ms, torch {torch_ms:.2f} ms, ratio {torch_by_numpy:.1f}".format(
            **found["query"]
        )
    )
    return found


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=list(CONFIGS), choices=list(CONFIGS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--validate", action="store_true", help="never read the test targets")
    parser.add_argument(
        "--data", type=Path, default=DATA, help="holds s3rec-beauty and s3rec-lastfm"
    )
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "s3rec.json"
    )
    options = parser.parse_args(argv)
    import torch

    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"threads": options.threads}
    for name in options.sets:
        folder = options.data / f"s3rec-{name}"
        if not folder.exists():
            print(f"({name} is left out: no {folder.name} in the data folder)")
            continue
        found[name] = run(
            name, folder, CONFIGS[name], options.seeds, validate_only=options.validate
        )
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
