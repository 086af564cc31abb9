"""Fit the recipe to the workspace's own log: point-in-time cases, one convex fit a regime, and a guard against noise.

The newest part of the log is held back. Tables are counted on what was before; then people are asked for at moments
after it, with all that they had done by then, and the weights are chosen under which the item they took next stands
out among the candidates: a conditional logit with weights that cannot be negative, pulled towards the plain recipe,
with room for surprise. Many moments are used, not one: at one single moment popularity is one draw, whatever the
number of people, and fits its noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from wayline.retrieval.births import Births
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.recipe import PLAIN, Recipe, regime_of
from wayline.retrieval.signals import (
    HALF_LIVES_DAYS,
    SIGNALS,
    Reading,
    SignalTables,
)
from wayline.retrieval.tables import (
    NeighbourTable,
    ease_table,
    interaction_matrix,
    transition_table,
)
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector
from wayline.sequences.history import History, ranks

HELD_BACK = 0.15  # of the wanting actions, the newest
WINDOWS = 3  # that questions are asked in, each after tables of its own
WANTS_PER_CASE = 2  # a window's length
MIN_HISTORY = 3
MIN_CASES = 60  # a regime with fewer keeps the plain weights
BASELINES = {
    "popular": "trending.30d",
    "item_knn": "related.all",
}  # one signal alone, told beside the recipe
MAX_CASES = 700  # between visits; twice as many just before an action
MOMENTS = 10
POSITIONS_BELOW_MS = 100_000_000  # as in wayline.clock: smaller numbers are places in a sequence
CANDIDATES_PER_SIGNAL = 30
RIDGE = 0.3  # pull towards the plain weights
ONE_ERROR = (0.16, 0.84)  # of the resampled gain: one standard error either way
SURPRISE = 1e-2  # a chance that an action is beyond any of the signals


@dataclass(frozen=True, slots=True)
class Touches:
    """Wanting actions of everybody, oldest first, those on an item wanted before too, shape [R].

    In a shop three in ten are, among people who look after something six in ten, and they say what a person is at now.

    Attributes
    ----------
    want : int64 array, shape [R]
        The row of ``Wants`` with the same person and item.
    ts_ms : int64 array, shape [R]
    """

    want: IntVector
    ts_ms: IntVector

    def of(self, keep: BoolVector, until_ts_ms: int) -> Touches:
        """Give those of the wants kept, up to a moment."""
        rows = keep[self.want] & (self.ts_ms <= until_ts_ms)
        return Touches((np.cumsum(keep) - 1)[self.want[rows]], self.ts_ms[rows])


@dataclass(frozen=True, slots=True)
class Wants:
    """First-time wanting actions of everybody, oldest first: what relation tables, popularity and the fit learn from.

    Attributes
    ----------
    user_idx, item_idx, ts_ms : int64 arrays, shape [M]
    worth : float32 array, shape [M], above 0
    n_users, n_items : int
    heard : bool array, shape [N], optional
        Items that are known at all; the others have a position only because of actions left out.
    touches : Touches, optional
        Every wanting action, repeats too; not given, nobody wanted anything twice.
    """

    user_idx: IntVector
    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector
    n_users: int
    n_items: int
    heard: BoolVector | None = None
    touches: Touches | None = None

    def __len__(self) -> int:
        return len(self.item_idx)

    def every_touch(self) -> Touches:
        """Give every wanting action, repeats too."""
        return self.touches or Touches(np.arange(len(self)), self.ts_ms)

    def where(self, keep: BoolVector) -> Wants:
        """Give a part of them, in the same order; what was repeated after the newest of them is left out."""
        touches = self.touches
        if touches is not None:
            until = int(self.ts_ms[keep].max(initial=-1))
            touches = touches.of(keep, until)
        return Wants(
            self.user_idx[keep], self.item_idx[keep], self.ts_ms[keep], self.worth[keep],
            self.n_users, self.n_items, self.heard, touches,
        )  # fmt: skip

    def by_user(self) -> tuple[IntVector, IntVector]:
        """Give the order that sorts by user, then time, and where each user begins, shapes [M] and [U + 1]."""
        order = np.argsort(self.user_idx, kind="stable")
        return order, np.searchsorted(self.user_idx[order], np.arange(self.n_users + 1))


@dataclass(frozen=True, slots=True)
class Case:
    """One question of the fit: what did this person want next, asked at this moment?"""

    history: History
    at_ts_ms: int
    target_idx: int
    worth: float


def count_tables(wants: Wants) -> dict[str, NeighbourTable]:
    """Count the item-to-item tables: EASE, what comes next, what comes soon after, and the same with repeats."""
    order, _ = wants.by_user()
    users, items = wants.user_idx[order], wants.item_idx[order]
    matrix = interaction_matrix(
        wants.user_idx, wants.item_idx, wants.worth, (wants.n_users, wants.n_items)
    )
    return {
        "related": ease_table(matrix),
        "next": transition_table(users, items, wants.n_items, window=1),
        "soon": transition_table(users, items, wants.n_items, window=10),
        "again": transition_table(*_walks(wants), wants.n_items, window=10),
    }


def _walks(wants: Wants) -> tuple[IntVector, IntVector]:
    """Users and items of every wanting action, sorted by user and time; one item several times in a row counts once."""
    touches = wants.every_touch()
    users, items = wants.user_idx[touches.want], wants.item_idx[touches.want]
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    new = np.ones(len(users), bool)
    new[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return users[new], items[new]


def fit_recipe(
    wants: Wants,
    past_vectors: Callable[[Wants], FloatMatrix | None],
    births: Births | None = None,
    *,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Recipe:
    """Fit the weights of each regime, keeping the plain ones where there are few cases or the fit is worse.

    Parameters
    ----------
    wants : Wants
    past_vectors : callable
        Gives item vectors [N, D] made from the actions it is handed and no later ones, or None.
    births : Births, optional
        When each item came; read as of the moments asked about.
    seed : int
    progress : callable
        Called with the share done, 0 to 1.

    Returns
    -------
    Recipe
        With a report of each decision.
    """
    windows = make_cases(wants, np.random.default_rng(seed))
    weights = {regime: dict(found) for regime, found in PLAIN.items()}
    report: dict[str, object] = {}
    if not windows:
        return Recipe(weights, report={"decided": "plain", "why": "no cases"})
    popularity = Popularity(
        wants.ts_ms, wants.item_idx, wants.n_items, HALF_LIVES_DAYS, wants.heard
    )
    by_regime: dict[str, list[tuple[FloatMatrix, int, float]]] = {}
    for done, window in enumerate(windows):
        past = window.past
        tables = SignalTables(
            count_tables(past), past_vectors(past), popularity, wants.heard, births
        )
        for case in sorted(window.cases, key=lambda c: c.at_ts_ms):
            example = make_example(case, tables)
            if example is not None:
                newest = int(case.history.ts_ms[-1]) if len(case.history) else 0
                regime = regime_of(len(case.history), newest, case.at_ts_ms)
                by_regime.setdefault(regime, []).append(example)
        progress(0.8 * (done + 1) / len(windows))
    for regime, examples in by_regime.items():
        weights[regime], report[regime] = decide(examples, PLAIN[regime], seed)
    progress(1.0)
    return Recipe(weights, report=report)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that people are asked about, and what was before it."""

    past: Wants
    cases: list[Case]


def make_cases(wants: Wants, rng: np.random.Generator) -> list[Window]:
    """Hold back the newest actions and ask about them, in a few short windows with tables of their own.

    A window is no longer than its questions need: what tables know of items ages, and a feed is served from tables of
    last night. Half of the questions are asked just before an action, as a person who opens a page asks; half at
    moments between visits, as a morning's mail does. Only items that the tables know are asked for: how well the
    signals would do on others, had the tables been counted a day ago, a cut cannot tell.
    """
    if len(wants) < 2 * MIN_CASES:
        return []
    if int(wants.ts_ms.max()) < POSITIONS_BELOW_MS:
        return _last_of_each_person(wants, rng)
    asker = _Asker(wants)
    late = int(len(wants) * (1 - HELD_BACK))
    length = min(2 * MAX_CASES * WANTS_PER_CASE // WINDOWS, (len(wants) - late) // WINDOWS)
    starts = np.linspace(late, len(wants) - length, WINDOWS).astype(int)
    return [_window(wants, asker, int(start), int(start + length), rng) for start in starts]


def _window(wants: Wants, asker: _Asker, start: int, end: int, rng: np.random.Generator) -> Window:
    """Ask about the wants from a row to another."""
    cut, until = int(wants.ts_ms[start]), int(wants.ts_ms[end - 1])
    past = wants.where(wants.ts_ms <= cut)
    known = np.bincount(past.item_idx, minlength=wants.n_items) > 0
    moments = [cut, *wants.ts_ms[rng.choice(np.arange(start, end), MOMENTS // WINDOWS)].tolist()]
    active = len(np.unique(wants.user_idx[start:end]))
    asked_of_each = max(
        4 * MAX_CASES // WINDOWS // max(active, 1), 2
    )  # few people: each more often
    before_act: list[Case] = []
    between: list[Case] = []
    for user in rng.permutation(wants.n_users):
        rows = asker.rows(user)
        times = wants.ts_ms[rows]
        late = np.flatnonzero((times > cut) & (times <= until) & known[wants.item_idx[rows]])
        late = late[late >= MIN_HISTORY]
        asked = rng.choice(late, min(asked_of_each, len(late)), replace=False)
        before_act += [asker.case(user, int(j), int(times[j]) - 1) for j in asked]
        for moment in moments:
            j = int(np.searchsorted(times, moment, side="right"))
            if MIN_HISTORY <= j < len(rows) and known[wants.item_idx[rows[j]]]:
                between.append(asker.case(user, j, int(moment)))
    most = MAX_CASES // WINDOWS
    return Window(past, [
        *(before_act[k] for k in rng.permutation(len(before_act))[: 2 * most]),
        *(between[k] for k in rng.permutation(len(between))[:most]),
    ])  # fmt: skip


def _last_of_each_person(wants: Wants, rng: np.random.Generator) -> list[Window]:
    """Hold back the last item of each person, where the log has places in a sequence instead of times."""
    asker = _Asker(wants)
    held = np.zeros(len(wants), bool)
    cases: list[Case] = []
    for user in rng.permutation(wants.n_users):
        rows = asker.rows(user)
        if len(rows) > MIN_HISTORY and len(cases) < 2 * MAX_CASES:
            held[rows[-1]] = True
            cases.append(asker.case(user, len(rows) - 1, int(wants.ts_ms[rows[-1]])))
    past = wants.where(~held)
    known = np.bincount(past.item_idx, minlength=wants.n_items) > 0
    return [Window(past, [case for case in cases if known[case.target_idx]])]


class _Asker:
    """Puts the questions: what had this person done before they wanted their j-th item?"""

    def __init__(self, wants: Wants) -> None:
        self._wants = wants
        self._order, self._begin = wants.by_user()
        touches = wants.every_touch()
        users = wants.user_idx[touches.want]
        order = np.argsort(users, kind="stable")
        self._want, self._ts_ms = touches.want[order], touches.ts_ms[order]
        self._touched = np.searchsorted(users[order], np.arange(wants.n_users + 1))

    def rows(self, user: int) -> IntVector:
        """One person's wants, oldest first."""
        return self._order[self._begin[user] : self._begin[user + 1]]

    def case(self, user: int, j: int, at_ts_ms: int) -> Case:
        """Ask for the j-th want at a moment.

        What the person repeated in the very millisecond of it is known: where a till writes down whole baskets at
        once, a feed cannot tell what was first either.
        """
        wants, rows = self._wants, self.rows(user)
        before, target = rows[:j], rows[j]
        until = at_ts_ms + (wants.ts_ms[target] == at_ts_ms + 1)
        own = slice(self._touched[user], self._touched[user + 1])
        want, ts_ms = self._want[own], self._ts_ms[own]
        known = np.flatnonzero((ts_ms <= until) & (want <= before[-1]))
        last = np.empty(j, np.int64)
        last[np.searchsorted(before, want[known])] = known  # oldest first, so the last one stays
        history = History(
            wants.item_idx[before],
            wants.ts_ms[before],
            wants.worth[before],
            ts_ms[last],
            ranks(last),
        )
        return Case(history, at_ts_ms, int(wants.item_idx[target]), float(wants.worth[target]))


def make_example(case: Case, tables: SignalTables) -> tuple[FloatMatrix, int, float] | None:
    """Give the signals of the candidates [C, F], the target's row and its worth; None if it was nowhere to be known."""
    reading = Reading(tables, SIGNALS, case.history, case.at_ts_ms)
    tops = [reading.top(name, CANDIDATES_PER_SIGNAL) for name in SIGNALS]
    candidates = np.unique(np.concatenate([*tops, np.array([case.target_idx])]))
    candidates = candidates[~np.isin(candidates, case.history.item_idx)]
    row = np.flatnonzero(candidates == case.target_idx)
    if len(row) == 0:
        return None
    return reading.matrix(candidates), int(row[0]), case.worth


def _alone(signal: str) -> FloatVector:
    return np.array([float(name == signal) for name in SIGNALS])


def decide(
    examples: list[tuple[FloatMatrix, int, float]], plain: dict[str, float], seed: int
) -> tuple[dict[str, float], dict[str, object]]:
    """Fit one regime; keep the plain weights if the fit is worse on the half it was not fitted on, beyond the noise.

    The pull towards the plain weights is the caution that counts: a fit whose gain could be noise was level with them
    or better in six of six regimes outside the slice, and by a fifth on film ratings (docs/experiments.md).
    """
    start = np.array([plain.get(name, 0.0) for name in SIGNALS])
    report: dict[str, object] = {"cases": len(examples)}
    if len(examples) < MIN_CASES:
        return plain, report | {"decided": "plain", "why": f"fewer than {MIN_CASES} cases"}
    every = Examples.of(examples)
    half = np.random.default_rng(seed).permutation(len(every)) % 2 == 0
    gain = np.zeros(len(every))
    for fitted_on in (half, ~half):
        weights = fit_weights(Examples.of(_where(examples, fitted_on)), start)
        rest = Examples.of(_where(examples, ~fitted_on))
        gain[~fitted_on] = rest.ndcg(weights) - rest.ndcg(start)
    low, high = np.quantile(_resampled_means(gain, seed), ONE_ERROR)
    report |= {
        **{
            f"{name}_ndcg_at_10": round(float(every.ndcg(_alone(signal)).mean()), 4)
            for name, signal in BASELINES.items()
        },
        "plain_ndcg_at_10": round(float(every.ndcg(start).mean()), 4),
        "gain_ndcg_at_10": round(float(gain.mean()), 4),
        "gain_68": [round(float(low), 4), round(float(high), 4)],
    }
    if high <= 0:
        return plain, report | {
            "decided": "plain",
            "why": "the fit is worse by more than the noise",
        }
    weights = fit_weights(every, start)
    fitted = {n: round(float(w), 4) for n, w in zip(SIGNALS, weights, strict=True) if w > 5e-3}
    return fitted, report | {"decided": "fitted"}


def _where(examples: list[tuple[FloatMatrix, int, float]], keep: BoolVector) -> list[Any]:
    return [example for example, kept in zip(examples, keep, strict=True) if kept]


def _resampled_means(
    gain: npt.NDArray[np.float64], seed: int, resamples: int = 1000
) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.array([gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(resamples)])


@dataclass(frozen=True, slots=True)
class Examples:
    """The candidates of all cases of a regime, one below the other.

    Attributes
    ----------
    x : float32 array, shape [T, F]
        Signals of every candidate; T is the sum of the cases' candidates.
    begin : int64 array, shape [B]
        The first row of each case.
    size : int64 array, shape [B]
    target : int64 array, shape [B]
        The row of what was taken.
    share : float64 array, shape [B]
        How much each case counts, by its action's worth; sums to 1.
    """

    x: FloatMatrix
    begin: IntVector
    size: IntVector
    target: IntVector
    share: FloatVector

    def __len__(self) -> int:
        return len(self.begin)

    @classmethod
    def of(cls, examples: list[tuple[FloatMatrix, int, float]]) -> Examples:
        """Put examples below each other."""
        size = np.array([len(x) for x, _, _ in examples])
        begin = np.concatenate([[0], np.cumsum(size)[:-1]])
        worth = np.array([w for _, _, w in examples], np.float64)
        target = begin + np.array([y for _, y, _ in examples])
        x = np.concatenate([x for x, _, _ in examples])
        return cls(x, begin, size, target, worth / worth.sum())

    def ndcg(self, w: FloatVector) -> FloatVector:
        """Give NDCG@10 of each case, ties counting half, shape [B]."""
        score = self.x @ w.astype(np.float32)
        reached = np.repeat(score[self.target], self.size)
        above = np.add.reduceat(score > reached, self.begin, dtype=np.int64)
        equal = np.add.reduceat(score == reached, self.begin, dtype=np.int64)
        rank = above + (equal - 1) / 2
        return np.asarray(np.where(rank < 10, 1 / np.log2(rank + 2), 0.0))


def fit_weights(examples: Examples, start: FloatVector) -> FloatVector:
    """Minimise the loss of a conditional logit with weights from 0 up.

    ``sum over cases of share * -log(p + SURPRISE) + RIDGE |w - start|^2``, p the softmax of the target
    among the candidates. The constant stands for what no signal foresaw: without it the fit is spent on making the
    unlikely a little less so, and the top of the list, which is all that people see, comes out worse than unfitted
    (docs/experiments.md).

    Parameters
    ----------
    examples : Examples
    start : float array, shape [F]
        The plain weights.
    """
    x, begin, size, target, share = (
        examples.x, examples.begin, examples.size, examples.target, examples.share,
    )  # fmt: skip

    def loss(w: FloatVector) -> tuple[float, FloatVector]:
        score = x @ w.astype(np.float32)
        top = np.maximum.reduceat(score, begin)
        e = np.exp(score - np.repeat(top, size))
        total = np.add.reduceat(e, begin)
        p = e[target] / total
        pull = share * p / (p + SURPRISE)  # how much of each case is explained at all
        slope = e * np.repeat((pull / total).astype(np.float32), size)
        slope[target] -= pull.astype(np.float32)
        value = share @ -np.log(p + SURPRISE) + RIDGE * ((w - start) ** 2).sum()
        return float(value), slope @ x + 2 * RIDGE * (w - start)

    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start),
        options={"maxiter": 60},
    )  # fmt: skip
    return np.asarray(found.x)
