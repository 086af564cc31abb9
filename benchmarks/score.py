"""TransAct scoring: the plain module beside wayline's scorer, by candidates and length of history.

``python benchmarks/score.py`` (or ``wayline bench score``) prints a table and writes
``results/score.json``. One set of weights; contenders take turns in one process with the same
number of threads. *module* is ``TransAct`` in eval and inference mode, whose ``nn.TransformerEncoder``
runs its own fused path; *encoder* is that encoder alone, on tokens made before the clock, without a
mask, pooling or norm: the least a plain implementation can take. Ratios are medians of turns.

The error is the largest difference of an output from the module's; overlap and correlation are of a
utility computed from the outputs by a random two-layer cross network, over several requests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SHAPES = ((100, 500), (10, 500), (50, 500), (100, 100), (100, 1000), (100, 10), (1, 500))
PATHS = ("native-float32", "native-bfloat16", "torch-float32")
REQUESTS = 8  # whose rankings are compared
TOP = 20
NOW_MS = 1_700_000_000_000


def request_of(
    length: int, candidates: int, n_actions: int, dim: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """A person with some tastes, and candidates of which some suit them."""
    random = torch.Generator().manual_seed(seed)
    tastes = torch.randn(6, dim, generator=random)
    of = torch.randint(6, (length + candidates,), generator=random)
    vectors = tastes[of] + torch.randn(length + candidates, dim, generator=random)
    vectors = torch.nn.functional.normalize(vectors)
    action_type = torch.randint(1, n_actions + 1, (length,), generator=random)
    action_ts_ms = NOW_MS - torch.arange(1, length + 1) * 60_000
    return action_type, vectors[:length], action_ts_ms, NOW_MS, vectors[length:]


def contenders_of(
    module: Any, request: tuple[Any, ...], threads: int, scorers: dict[str, Any]
) -> dict[str, Callable[[], Tensor]]:
    """What takes turns, on one request."""
    action_type, item_vector, action_ts_ms, now_ms, candidates = request
    c = len(candidates)
    batch = (
        action_type.expand(c, -1),
        item_vector.expand(c, -1, -1),
        action_ts_ms.expand(c, -1),
        torch.tensor([now_ms]).expand(c),
        candidates,
    )
    tokens = module.tokens(batch[0], batch[1], candidates).contiguous()

    def plain() -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(module(*batch))

    def encoder() -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(module.encoder(tokens))

    found = {"module": plain, "encoder": encoder}
    for name, scorer in scorers.items():
        found[name] = lambda scorer=scorer: scorer.score(*request)
    return found


def _scorers(module: Any, threads: int, paths: tuple[str, ...] = PATHS) -> dict[str, Any]:
    from wayline.errors import ConfigError
    from wayline.ranking.scorer.transact import TransActScorer

    found = {}
    for path in paths:
        try:
            found[path] = TransActScorer(module, threads=threads, path=path)
        except ConfigError:
            print(f"({path} cannot be had here)")
    return found


def utility_of(out_dim: int) -> Callable[[Tensor], Tensor]:
    """A random cross network and head: outputs ``[C, out]`` to utilities ``[C]``."""
    random = torch.Generator().manual_seed(1)
    cross = [torch.randn(out_dim, out_dim, generator=random) / out_dim**0.5 for _ in range(2)]
    head = torch.randn(out_dim, generator=random) / out_dim**0.5

    def utility(x: Tensor) -> Tensor:
        y = x
        for weight in cross:
            y = x * (y @ weight.T) + y
        return torch.sigmoid(0.1 * (y @ head))

    return utility


def _agreement(
    module: Any, scorers: dict[str, Any], length: int, candidates: int
) -> dict[str, dict[str, float]]:
    """Largest error, and mean overlap and least correlation of utilities over some requests."""
    utility = utility_of(module.out_dim)
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in scorers}
    top = min(TOP, candidates)
    for seed in range(REQUESTS):
        request = request_of(
            length, candidates, module.config.n_actions, module.config.item_dim, seed
        )
        expected = contenders_of(module, request, 1, {})["module"]()
        order = utility(expected)
        best = set(order.topk(top).indices.tolist())
        for name, scorer in scorers.items():
            out = scorer.score(*request)
            ours = utility(out)
            overlap = len(best & set(ours.topk(top).indices.tolist())) / top
            both = torch.corrcoef(torch.stack([order, ours]).double())[0, 1]
            rows[name].append((float((out - expected).abs().max()), overlap, float(both)))
    return {
        name: {
            "max_error": max(e for e, _, _ in of),
            f"overlap_{TOP}": statistics.fmean(o for _, o, _ in of),
            "correlation": min(r for _, _, r in of),
        }
        for name, of in rows.items()
    }


def _one(
    module: Any, length: int, candidates: int, threads: int, effort: float, paths: tuple[str, ...]
) -> dict[str, Any]:
    scorers = _scorers(module, threads, paths)
    request = request_of(length, candidates, module.config.n_actions, module.config.item_dim, 0)
    contenders = contenders_of(module, request, threads, scorers)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    turns = max(5, round(effort * min(40, 15 * 50_000 / (max(length, 5) * candidates))))
    for _ in range(turns):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            seconds[name].append(time.perf_counter() - start)
    return {
        "s": length,
        "candidates": candidates,
        "threads": threads,
        "turns": turns,
        "median_ms": {n: 1e3 * statistics.median(of) for n, of in seconds.items()},
        "min_ms": {n: 1e3 * min(of) for n, of in seconds.items()},
        "ratio_module": {n: _ratio(seconds["module"], seconds[n]) for n in scorers},
        "ratio_encoder": {n: _ratio(seconds["encoder"], seconds[n]) for n in scorers},
        "agreement": _agreement(module, scorers, length, candidates),
    }


def _ratio(plain: list[float], ours: list[float]) -> float:
    """Median of the ratios turn by turn: neighbours in time, so a busy machine hits both."""
    return statistics.median(a / b for a, b in zip(plain, ours, strict=True))


HEADS = (
    "S", "C", "threads", "path", "ms", "module ms", "encoder ms", "module /", "encoder /",
    "max error", f"overlap@{TOP}", "correlation",
)  # fmt: skip


def _lines(row: dict[str, Any]) -> list[str]:
    lines = []
    for path, agreement in row["agreement"].items():
        cells = [
            row["s"], row["candidates"], row["threads"], path,
            *(f"{row['median_ms'][n]:.1f}" for n in (path, "module", "encoder")),
            *(f"{row[r][path]:.2f}" for r in ("ratio_module", "ratio_encoder")),
            f"{agreement['max_error']:.1e}", f"{agreement[f'overlap_{TOP}']:.3f}",
            f"{agreement['correlation']:.6f}",
        ]  # fmt: skip
        lines.append("".join(f"{cell!s:>16}" for cell in cells))
    return lines


def run(
    shapes: tuple[tuple[int, int], ...],
    threads: int,
    effort: float,
    paths: tuple[str, ...] = PATHS,
    *,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure; gives what is written to the JSON file."""
    from wayline.ranking.modules.transact import TransAct, TransActConfig
    from wayline.ranking.scorer.transact import TransActScorer

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    module = TransAct(TransActConfig(n_actions=20)).eval()
    start = time.perf_counter()
    scorer = TransActScorer(module, threads=threads)
    chosen = {"path": scorer.path, "start_s": time.perf_counter() - start}
    report(f"(chosen here: {chosen['path']}, ready in {chosen['start_s']:.1f} s)")
    report("".join(f"{head:>16}" for head in HEADS))
    rows = []
    for length, candidates in shapes:
        rows.append(_one(module, length, candidates, threads, effort, paths))
        for line in _lines(rows[-1]):
            report(line)
    report(
        "(median milliseconds of one request; d 96, 2 layers, 1 head, feed-forward 32; the module's "
        f"ratio is the one to look at; errors and ranks over {REQUESTS} requests)"
    )
    return {"chosen": chosen, "rows": rows}


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 1 if the float32 scorer is not the module's to 1e-4."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--shapes", nargs="*", default=[f"{s}x{c}" for s, c in SHAPES], help="actions x candidates"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--paths", nargs="*", default=list(PATHS))
    parser.add_argument("--effort", type=float, default=1.0, help="more turns, steadier figures")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "score.json"
    )
    options = parser.parse_args(argv)
    shapes = tuple((int(s), int(c)) for s, c in (shape.split("x") for shape in options.shapes))
    found = run(shapes, options.threads, options.effort, tuple(options.paths))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    exact = (
        agreement["max_error"]
        for row in found["rows"]
        for path, agreement in row["agreement"].items()
        if path.endswith("float32")
    )
    return 0 if all(error <= 1e-4 for error in exact) else 1


if __name__ == "__main__":
    raise SystemExit(main())
