"""TransAct V2 over a whole history: wayline's scorer beside plain PyTorch, by length of history.

``python benchmarks/score_v2.py`` (or ``wayline bench score-v2``) prints a table and writes ``results/score-v2.json``.
500 candidates x 192 tokens, 2 layers, 1 head, d 64, feed-forward 32, the same weights everywhere. *Plain* is
selection by ``mm`` and ``topk`` and the module in ``inference_mode``, float32, in blocks of candidates of whichever
size was quickest. *Plain causal* is the same with the bare ``nn.TransformerEncoder`` told ``is_causal`` and given no
padding mask, where there is none to give. Contenders take turns with the same number of threads; ratios are medians
over turns. A busy machine makes every wall time longer, so the processor's time is told beside it. Error, overlap and
correlation are against the module on the tokens our selection gives (equally near tokens may be chosen otherwise by
``topk``), the last two those of utilities by 20 random heads. *sharp*: query and key weights times 4, for attention
as peaked as training makes it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selection import SLACKBUILDS, history, real_history
from wayline.ranking.modules.transact_v2 import TransActV2, TransActV2Config
from wayline.ranking.scorer.transact_v2 import STAGES, TransActV2Scorer
from wayline.ranking.selection import RequestTokens, TokenShares
from wayline.ranking.token_columns import unit_vectors

CANDIDATES, IMPRESSIONS = 500, 100
LENGTHS = (100, 1_000, 4_000, 16_000)
BLOCKS = (25, 50, 500)
HEADS = 20


def request(s: int, d: int = 32) -> tuple[RequestTokens, np.ndarray, np.ndarray]:
    """A history of s actions in sessions, impressions, an int8 table, candidates."""
    table, item_idx, candidates = history(s, d, seed=s)
    return with_impressions(table, item_idx), table, candidates


def with_impressions(table: np.ndarray, item_idx: np.ndarray) -> RequestTokens:
    """Tokens of a history of items, with actions, surfaces and impressions made up."""
    rng = np.random.default_rng(0)
    s, n = len(item_idx), len(item_idx) + IMPRESSIONS
    bits = (1 << rng.integers(0, 4, n)).astype(np.uint16)
    bits[s:] = 0
    ts_ms = np.r_[np.arange(s), np.arange(IMPRESSIONS)].astype(np.int64)
    items = np.r_[item_idx, rng.integers(len(table), size=IMPRESSIONS)].astype(np.int64)
    surface = rng.integers(0, 4, n).astype(np.uint8)
    return RequestTokens(items, ts_ms, bits, surface, 0, max(0, s - 100), s)


def sharpened(module: TransActV2, times: float) -> TransActV2:
    """The module with larger attention scores, as training makes them."""
    with torch.no_grad():
        for layer in module.encoder.layers:
            layer.self_attn.in_proj_weight[: 2 * module.out_dim] *= times
    return module


class Plain:
    """What one writes in PyTorch first: mm, topk, gather, module."""

    def __init__(self, module: TransActV2, tokens: RequestTokens, table: np.ndarray) -> None:
        self.module, self.tokens, self.shares = module, tokens, TokenShares()
        self.item = torch.from_numpy(unit_vectors(table, tokens.item_idx))
        self.bits = torch.from_numpy(tokens.action_bits.astype(np.int64))
        self.surface = torch.from_numpy(tokens.surface.astype(np.int64))
        self.block, self.causal = CANDIDATES, False

    def select(self, vectors: torch.Tensor) -> torch.Tensor:
        """Rows of tokens [C, T], -1 for padding, oldest first in each part."""
        tokens, shares = self.tokens, self.shares
        end, c = tokens.impression_first, len(vectors)
        recent = max(tokens.realtime_first, end - shares.recent)
        near = self._nearest(vectors, tokens.realtime_first, recent, shares.realtime)
        taken = torch.zeros(c, end + 1, dtype=torch.bool)
        taken.scatter_(1, torch.where(near < 0, end, near), value=True)
        lifelong = self._nearest(vectors, 0, recent, shares.lifelong, taken)
        newest = torch.full((shares.recent,), -1)
        newest[shares.recent - (end - recent) :] = torch.arange(recent, end)
        shown = self._nearest(vectors, end, len(tokens), shares.impression)
        return torch.cat([lifelong, newest.expand(c, -1), near, shown], dim=1)

    def _nearest(
        self,
        vectors: torch.Tensor,
        first: int,
        last: int,
        k: int,
        taken: torch.Tensor | None = None,
    ) -> torch.Tensor:
        near = vectors @ self.item[first:last].T
        if taken is not None:
            near.masked_fill_(taken[:, first:last], -torch.inf)
        value, at = near.topk(min(k, last - first), dim=1)
        rows = torch.where(value == -torch.inf, -1, at + first).sort(dim=1).values
        return torch.nn.functional.pad(rows, (k - rows.shape[1], 0), value=-1)

    @torch.inference_mode()
    def score(self, vectors: torch.Tensor) -> torch.Tensor:
        token_row = self.select(vectors)
        pairs = zip(token_row.split(self.block), vectors.split(self.block), strict=True)
        return torch.cat([self.encode(row, vector) for row, vector in pairs])

    def encode(self, token_row: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        valid, row = token_row >= 0, token_row.clamp(min=0)
        given = (self.bits[row], self.surface[row], self.item[row], valid, vectors)
        if not self.causal:
            return self.module(*given)
        length = token_row.shape[1]
        mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
        states = self.module.encoder(self.module.tokens(*given), mask=mask, is_causal=True)
        return self.module.pool(states, valid)


def measure(
    tokens: RequestTokens,
    table: np.ndarray,
    candidates: np.ndarray,
    threads: int,
    effort: float,
    times: float = 1.0,
) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    module = sharpened(TransActV2(TransActV2Config()).eval(), times)
    vectors = torch.from_numpy(unit_vectors(table, candidates))
    plain = Plain(module, tokens, table)
    plain.block = min(BLOCKS, key=lambda block: _seconds(lambda: _with(plain, block, vectors)))
    scorers = {
        dtype: TransActV2Scorer(module, dtype, threads=threads)  # type: ignore[arg-type]
        for dtype in ("float32", "bfloat16")
    }
    stages: dict[str, list[dict[str, float]]] = {dtype: [] for dtype in scorers}
    calls: dict[str, Callable[[], Any]] = {"plain": lambda: plain.score(vectors)}
    if len(tokens) >= CANDIDATES:  # no padding, so the mask may be left to is_causal
        causal = Plain(module, tokens, table)
        causal.block, causal.causal = plain.block, True
        calls["plain causal"] = lambda: causal.score(vectors)
    for dtype, scorer in scorers.items():
        calls[dtype] = lambda scorer=scorer, kept=stages[dtype]: _staged(  # type: ignore[misc]
            scorer, tokens, table, candidates, kept
        )
    seconds: dict[str, list[list[float]]] = {name: [] for name in calls}
    cpu_s: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    rows = torch.from_numpy(scorers["float32"].select(tokens, table, candidates).astype(np.int64))
    with torch.inference_mode():
        pairs = zip(rows.split(50), vectors.split(50), strict=True)
        expected = torch.cat([plain.encode(row, vector) for row, vector in pairs])
    for _ in range(max(3, round(8 * effort))):
        for name, call in calls.items():
            turns = 1 if name.startswith("plain") else max(3, round(15 * effort))
            start = time.process_time()
            seconds[name].append([_seconds(call) for _ in range(turns)])
            cpu_s[name].append((time.process_time() - start) / turns)
    return {
        "s": tokens.impression_first,
        "threads": threads,
        "sharpened": times,
        "plain_block": plain.block,
        "contenders": {
            name: {
                "p50_ms": 1e3 * float(np.percentile(np.concatenate(times_), 50)),
                "p99_ms": 1e3 * float(np.percentile(np.concatenate(times_), 99)),
                "min_ms": 1e3 * min(map(min, times_)),
                "cpu_ms": 1e3 * float(np.median(cpu_s[name])),
                "ratio": _ratio(seconds["plain"], times_),
                "ratio_cpu": float(np.median(cpu_s["plain"]) / np.median(cpu_s[name])),
                "ratio_causal": _ratio(seconds.get("plain causal"), times_),
                **({} if name not in scorers else _told(stages[name])),
                **(
                    {}
                    if name not in scorers
                    else _agreement(scorers[name].score(tokens, table, candidates), expected)
                ),
                **({} if name not in scorers else {"path": scorers[name].path}),
            }
            for name, times_ in seconds.items()
        },
    }


def _with(plain: Plain, block: int, vectors: torch.Tensor) -> None:
    plain.block = block
    plain.score(vectors)


def _staged(
    scorer: TransActV2Scorer,
    tokens: RequestTokens,
    table: np.ndarray,
    candidates: np.ndarray,
    kept: list[dict[str, float]],
) -> None:
    kept.append({})
    scorer.score(tokens, table, candidates, stages_ms=kept[-1])


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _ratio(plain: list[list[float]] | None, ours: list[list[float]]) -> float | None:
    """Median over turns: neighbours in time, so a busy machine hits both."""
    if plain is None:
        return None
    pairs = zip(plain, ours, strict=True)
    return float(np.median([np.median(one) / np.median(other) for one, other in pairs]))


def _told(stages: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "stages_ms": {stage: float(np.median([told[stage] for told in stages])) for stage in STAGES}
    }


def _agreement(found: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
    heads = torch.randn(found.shape[1], HEADS, generator=torch.Generator().manual_seed(1))
    ours, theirs = (found @ heads).T, (expected @ heads).T
    shared = [
        len(set(a.topk(20).indices.tolist()) & set(b.topk(20).indices.tolist())) / 20
        for a, b in zip(ours, theirs, strict=True)
    ]
    correlation = [
        float(np.corrcoef(a.numpy(), b.numpy())[0, 1]) for a, b in zip(ours, theirs, strict=True)
    ]
    return {
        "max_error": float((found - expected).abs().max()),
        "overlap20": float(np.mean(shared)),
        "correlation_min": min(correlation),
    }


def run(
    lengths: tuple[int, ...],
    threads: tuple[int, ...],
    effort: float,
    actions: Path,
    *,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure; gives what is written to the JSON file."""
    rows: list[dict[str, Any]] = []
    report(HEAD)

    def add(name: str, row: dict[str, Any]) -> None:
        rows.append({"history": name, **row})
        for contender in row["contenders"]:
            report(_line(rows[-1], contender))

    for t in threads:
        for s in lengths:
            add("lively", measure(*request(s), t, effort))
    longest, t = max(lengths), max(threads)
    add("sharp", measure(*request(longest), t, effort / 2, times=4.0))
    if actions.exists():
        table, item_idx, candidates = real_history(actions, 32)
        add("real", measure(with_impressions(table, item_idx), table, candidates, t, effort / 2))
    else:
        report(f"(no real history: {actions.name} is not there)")
    report(f"(milliseconds; {CANDIDATES} candidates; x: times as fast as plain)")
    return {"rows": rows}


HEAD = "".join(
    f"{head:>13}"
    for head in (
        "history", "S", "threads", "contender", *STAGES, "p50", "p99", "cpu", "x plain", "x causal", "x cpu",
        "max error", "overlap@20", "correlation",
    )
)  # fmt: skip


def _line(row: dict[str, Any], contender: str) -> str:
    told = row["contenders"][contender]
    stages = [f"{told['stages_ms'][s]:.2f}" if "stages_ms" in told else "" for s in STAGES]
    agreement = (
        [f"{told['max_error']:.1e}", f"{told['overlap20']:.3f}", f"{told['correlation_min']:.6f}"]
        if "max_error" in told
        else [""] * 3
    )
    ratio = [f"{told[n]:.2f}" if told[n] else "" for n in ("ratio", "ratio_causal", "ratio_cpu")]
    times = [f"{told[n]:.1f}" for n in ("p50_ms", "p99_ms", "cpu_ms")]
    cells = [
        row["history"],
        row["s"],
        row["threads"],
        contender,
        *stages,
        *times,
        *ratio,
        *agreement,
    ]
    return "".join(f"{cell!s:>13}" for cell in cells)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 1 if float32 is off by more than 1e-4."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="*", default=list(LENGTHS))
    parser.add_argument("--threads", type=int, nargs="*", default=[2])
    parser.add_argument("--effort", type=float, default=1.0, help="more turns, steadier figures")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "score-v2.json"
    )
    parser.add_argument(
        "--actions", type=Path, default=SLACKBUILDS, help="Parquet with user_id, item_id, ts"
    )
    options = parser.parse_args(argv)
    found = run(tuple(options.lengths), tuple(options.threads), options.effort, options.actions)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    errors = [
        row["contenders"]["float32"]["max_error"]
        for row in found["rows"]
        if row["history"] != "sharp"
    ]
    return 0 if max(errors) <= 1e-4 else 1


if __name__ == "__main__":
    raise SystemExit(main())
