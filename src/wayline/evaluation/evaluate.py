"""Measure a recommender on a log: the product's own feed beside every baseline, on the same cases,
over the full catalogue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.errors import InputError, TooLargeError, shorten
from wayline.evaluation import metrics
from wayline.evaluation.baselines import Baseline, co_engagement_vectors, log_baselines
from wayline.evaluation.history import History
from wayline.evaluation.intervals import Interval, bootstrap, paired_difference, wilson
from wayline.evaluation.metrics import PerCase, Ranks
from wayline.evaluation.report import Report, Row, SplitReport
from wayline.evaluation.splits import Case, Split, make_split
from wayline.evaluation.vector_baselines import vector_baselines
from wayline.schema import FloatMatrix, IntVector

Recommend = Callable[[str, int, int], Sequence[str]]
"""``recommend(user_id, at_ms, k)``: at most k item ids, best first, from nothing later than
``at_ms``.
"""

MakeSystem = Callable[[pl.DataFrame], Any]
"""Builds a system from a training log; gives a `Recommend`, or an object with ``feed(user_id,
limit=, at=)``.
"""

MakeVectors = Callable[[pl.DataFrame], tuple[Sequence[str], FloatMatrix]]
"""Makes item ids [N] and their vectors [N, D] from a training log."""

Progress = Callable[[str, int, int], None]
"""Told ``(what, done, total)``."""

BATCH = 256


def positive_of(worths: Mapping[str, float]) -> list[str]:
    """Name the actions worth more than 0.

    >>> positive_of({"buy": 1.0, "return": -1.0, "view": 0.0})
    ['buy']
    """
    return [action for action, worth in worths.items() if worth > 0]


def as_recommend(system: Any) -> Recommend:
    """Turn a system into a `Recommend`: a callable as it is, an engine by its ``feed``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if hasattr(system, "feed"):

        def ask(user_id: str, at_ms: int, k: int) -> list[str]:
            return [item.item_id for item in system.feed(user_id, limit=k, at=at_ms).items]

        return ask
    if callable(system):
        return cast(Recommend, system)
    raise InputError(
        f"Got {shorten(system)} as a system, expected recommend(user_id, at_ms, k) or an object "
        "with feed(): return the engine itself, or a function around it."
    )


def evaluate(
    actions: pl.DataFrame,
    items: pl.DataFrame | None = None,
    *,
    make_system: MakeSystem | Mapping[str, MakeSystem] | None = None,
    positive_actions: Collection[str] | None = None,
    worths: Mapping[str, float] | None = None,
    how: Sequence[str] = ("time", "leave-one-out"),
    k: Sequence[int] = (10, 20),
    users: int | None = 1000,
    seed: int = 0,
    warm_only: bool = True,
    make_vectors: MakeVectors | None = None,
    baselines: bool = True,
    on_progress: Progress | None = None,
) -> Report:
    """Split the log, build every system from the training part, ask each the same questions, and
    put the answers in one table.

    Every item of the catalogue is a candidate (no sampled negatives: those change the order of
    systems, Krichene & Rendle 2020), less what the person already has. A baseline's rank counts
    ties half; a system's rank is the place in its list.

    Parameters
    ----------
    actions : polars.DataFrame
        ``user_id, item_id, ts`` (UTC ms), ``action``.
    items : polars.DataFrame, optional
        ``item_id`` of the catalogue, so that coverage knows items nobody has touched yet.
    make_system : callable or mapping of name to callable, optional
        Called with the training part; see `MakeSystem`. A single one is called "feed" in the
        table.
    positive_actions : collection of str, optional
        Actions that mean wanting the item; or give ``worths`` and those above 0 are. All
        actions, if neither is given.
    how : sequence of str
        ``"time"``, ``"leave-one-out"`` or both.
    k : sequence of int
        List lengths; the first one's HR is what the verdict compares.
    users : int, optional
        Ask about at most so many users a split, drawn by ``seed``.
    make_vectors : callable, optional
        Item vectors for the vector baselines and for diversity, from the training part alone; by
        default a truncated SVD of it.
    baselines : bool
        False leaves the baselines out.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If both ``positive_actions`` and ``worths`` are given, a split is unknown, or nobody has
        a history long enough.
    """
    if worths is not None and positive_actions is not None:
        raise InputError(
            "Got positive_actions and worths, expected one of them: worths above 0 are positive.",
            field="worths",
        )
    positives = positive_of(worths) if worths else positive_actions
    makers = make_system if isinstance(make_system, Mapping) else {"feed": make_system}
    reports = []
    for name in how:
        split = make_split(
            actions,
            name,
            positive_actions=positives,
            max_users=users,
            seed=seed,
            warm_only=warm_only,
        )
        if not split.cases:
            raise InputError(
                f"Got {len(actions):,} actions, expected somebody with {split.min_items} positive "
                f"items and a new one after them for the {name} split: give more actions, or name "
                "the positive ones.",
                field="how",
            )
        run = _Run(
            split,
            positives=positives,
            items=items,
            k=tuple(k),
            seed=seed,
            on_progress=on_progress or _silent,
        )
        run.prepare_vectors(make_vectors)
        for label, maker in makers.items():
            if maker is not None:
                run.add_system(label, maker)
        if baselines:
            run.add_baselines()
        reports.append(run.report())
    return Report(reports)


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""


@dataclass(frozen=True, slots=True)
class _Measured:
    row: Row
    first_metric: PerCase


class _Run:
    """One split on its way to a table."""

    def __init__(
        self,
        split: Split,
        *,
        positives: Collection[str] | None,
        items: pl.DataFrame | None,
        k: tuple[int, ...],
        seed: int,
        on_progress: Progress,
    ) -> None:
        self.split, self.k, self.seed, self.on_progress = split, k, seed, on_progress
        self.history = History.of(split.train, positives)
        known = set(self.history.item_ids)
        offered = (
            items["item_id"].cast(pl.String).unique().sort().to_list() if items is not None else []
        )
        self.catalogue = [*self.history.item_ids, *(i for i in offered if i not in known)]
        self.item_of = {item: at for at, item in enumerate(self.catalogue)}
        self.popularity = np.zeros(len(self.catalogue))
        self.popularity[: len(known)] = np.asarray(self.history.matrix.sum(0)).ravel()
        self.measured: list[_Measured] = []
        self.notes: list[str] = []

    def prepare_vectors(self, make_vectors: MakeVectors | None) -> None:
        """Item vectors in history order, and in catalogue order with zeros for items that training
        does not have.
        """
        if make_vectors is None:
            self.vectors = co_engagement_vectors(self.history, seed=self.seed)
        else:
            self.vectors = self.history.align(*make_vectors(self.split.train))
        extra = len(self.catalogue) - len(self.vectors)
        self.catalogue_vectors = np.pad(self.vectors, ((0, extra), (0, 0)))

    def add_system(self, name: str, maker: MakeSystem) -> None:
        """Build a system from the training part and ask it every case."""
        begun, most = time.perf_counter(), max(self.k)
        recommend = as_recommend(maker(self.split.train))
        lists = np.full((len(self.split.cases), most), -1, dtype=np.int64)
        answers: list[list[str]] = []
        for at, case in enumerate(self.split.cases):
            answer = list(recommend(case.user_id, case.at_ms, most))[:most]
            answers.append(answer)
            lists[at, : len(answer)] = [self.item_of.get(item, -1) for item in answer]
            self.on_progress(name, at + 1, len(self.split.cases))
        ranks, counts = metrics.ranks_in_lists(answers, [c.item_ids for c in self.split.cases])
        short = sum(len(answer) < most for answer in answers)
        if short:
            self.notes.append(f"{name} gave fewer than {most} items for {short:,} users.")
        self._measure(name, ranks, counts, lists, begun, is_baseline=False)

    def add_baselines(self) -> None:
        """Fit and ask every baseline; one that does not fit into memory is named in the notes."""
        every: list[Baseline] = [*log_baselines(), *vector_baselines(self.vectors, seed=self.seed)]
        for at, baseline in enumerate(every):
            begun = time.perf_counter()
            try:
                baseline.fit(self.history)
            except TooLargeError as error:
                self.notes.append(f"{baseline.name} was not run: {error.message}")
                continue
            ranks, lists = rank_baseline(baseline, self.history, self.split.cases, max(self.k))
            counts = np.array([len(c.item_ids) for c in self.split.cases], dtype=np.int64)
            self._measure(baseline.name, ranks, counts, lists, begun, is_baseline=True)
            self.on_progress("baselines", at + 1, len(every))

    def report(self) -> SplitReport:
        """The table, with every system compared to every baseline on the same cases."""
        ahead = {
            (a.row.system, b.row.system): paired_difference(
                a.first_metric, b.first_metric, seed=self.seed
            )
            for a in self.measured
            if not a.row.is_baseline
            for b in self.measured
            if b.row.is_baseline
        }
        protocol = (
            f"{self.split.protocol()}; full catalogue of {len(self.catalogue):,} items, no sampled "
            "negatives; items the person already has are not candidates; ties count half; "
            "95 % intervals: Wilson for HR, bootstrap over users for the rest"
        )
        rows = [m.row for m in self.measured]
        return SplitReport(self.split.how, protocol, len(self.split.cases), rows, ahead, self.notes)

    def _measure(
        self,
        name: str,
        ranks: Ranks,
        counts: IntVector,
        lists: npt.NDArray[np.int64],
        begun: float,
        *,
        is_baseline: bool,
    ) -> None:
        accuracy: dict[str, Interval] = {}
        for k in self.k:
            accuracy[f"HR@{k}"] = wilson(metrics.hit_rate(ranks, k))
            accuracy[f"NDCG@{k}"] = bootstrap(metrics.ndcg(ranks, counts, k), seed=self.seed)
            accuracy[f"MRR@{k}"] = bootstrap(metrics.mrr(ranks, k), seed=self.seed)
        diverse = metrics.diversity(lists, self.catalogue_vectors)
        users = len(self.history.user_ids)
        beyond = {
            "coverage": metrics.coverage(lists, len(self.catalogue)),
            "diversity": metrics.nan_mean(diverse),
            "novelty": metrics.nan_mean(metrics.novelty(lists, self.popularity, users)),
            "gini": metrics.gini(lists, len(self.catalogue)),
        }
        row = Row(name, accuracy, beyond, time.perf_counter() - begun, is_baseline)
        self.measured.append(_Measured(row, metrics.hit_rate(ranks, self.k[0])))


def rank_baseline(
    baseline: Baseline, history: History, cases: Sequence[Case], most: int
) -> tuple[Ranks, npt.NDArray[np.int64]]:
    """Ask a fitted baseline every case, batch by batch.

    Returns
    -------
    ranks : float64 array, shape [B, T]
        Ranks of the targets among all items the person does not have; ties count half.
    lists : int64 array, shape [B, most]
        The best items' positions; -1 where fewer than ``most`` have a score.
    """
    user_idx = np.array([history.user_of.get(c.user_id, -1) for c in cases], dtype=np.int64)
    at_ms = np.array([c.at_ms for c in cases], dtype=np.int64)
    target_idx = np.full((len(cases), max(len(c.item_ids) for c in cases)), -1, dtype=np.int64)
    for row, case in enumerate(cases):
        target_idx[row, : len(case.item_ids)] = [history.item_of.get(i, -1) for i in case.item_ids]
    ranks, lists = [], []
    for begin in range(0, len(cases), BATCH):
        part = slice(begin, begin + BATCH)
        scores = baseline.scores(user_idx[part], at_ms[part])
        scores[history.rows(user_idx[part]).nonzero()] = -np.inf
        ranks.append(metrics.ranks_in_scores(scores, target_idx[part]))
        lists.append(_best(scores, most))
    return np.concatenate(ranks), np.concatenate(lists)


def _best(scores: npt.NDArray[np.floating[Any]], most: int) -> npt.NDArray[np.int64]:
    """Positions of the highest scores [B, most], best first, -1 for what has no score."""
    width = min(most, scores.shape[1])
    picked = np.argpartition(-scores, width - 1, axis=1)[:, :width]
    values = np.take_along_axis(scores, picked, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.take_along_axis(picked, order, axis=1).astype(np.int64)
    best[np.take_along_axis(values, order, axis=1) == -np.inf] = -1
    return np.pad(best, ((0, 0), (0, most - width)), constant_values=-1)
