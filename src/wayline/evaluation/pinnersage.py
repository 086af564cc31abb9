"""PinnerSage's own offline protocol (KDD 2020, section 5): walk forward, retrieve, and compare with
what came next.

Time is cut into steps. Before each step every method sees a person's last 90 days and names up
to ``candidates`` items, ``floor(candidates / E)`` around each of its E vectors; the step's
actions are the truth. Item vectors are fixed and must come from before the first step, or from
text.

Where we differ from the paper: steps may be longer than a day (sparse logs); the log has no
impressions, so the ranking metrics compare with items drawn by popularity; search is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.errors import DimensionMismatchError, InputError
from wayline.evaluation.intervals import Interval, bootstrap, ratio_lift
from wayline.evaluation.representations import Person, Representation
from wayline.schema import BoolVector, FloatMatrix, IndexVector, IntVector

METRICS = ("relevance", "recall", "r_precision", "reciprocal_rank")
BATCH = 128

Figures = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WalkLog:
    """Positive actions in time order and the vectors of their items.

    Attributes
    ----------
    user_idx, item_idx : int32 arrays, shape [M]
    ts_ms : int64 array, shape [M]
        Ascending.
    vectors : float32 array, shape [N, D]
        Unit norm; zero rows have no vector, and actions on them are left out on both sides.

    Raises
    ------
    DimensionMismatchError
        If an item has no row.
    InputError
        If the times are not ascending.
    """

    user_idx: IndexVector
    item_idx: IndexVector
    ts_ms: IntVector
    vectors: FloatMatrix

    def __post_init__(self) -> None:
        if len(self.item_idx) and int(self.item_idx.max()) >= len(self.vectors):
            raise DimensionMismatchError(
                got=len(self.vectors),
                expected=int(self.item_idx.max()) + 1,
                where="the rows of the walk's vectors",
                cure="give one row an item, zeros where there is no vector",
            )
        if (np.diff(self.ts_ms) < 0).any():
            raise InputError(
                "Got actions out of time order, expected the oldest first: sort them by ts."
            )


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """How to walk; the defaults are the paper's where it says.

    Attributes
    ----------
    start_ms : int
        Begin of the first step; nothing learnt may be newer.
    steps, step_days
        How many steps and how long.
    candidates : int
        Items named in all: ``floor(candidates / E)`` around each vector.
    negatives : int
        Items drawn by popularity for each action to rank against.
    min_actions : int
        People with fewer actions in the window are left out (chosen, not published).
    new_only : bool
        Only items the person has not acted on within the window count and may be named.
    users_per_step : int
        At most so many people a step, drawn by ``seed``.
    max_actions : int
        The newest so many actions of the window are seen.
    """

    start_ms: int
    steps: int = 8
    step_days: float = 7.0
    window_days: float = 90.0
    candidates: int = 400
    relevant_cosine: float = 0.8
    negatives: int = 20
    min_actions: int = 5
    new_only: bool = False
    users_per_step: int = 200
    max_actions: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class WalkReport:
    """Every method's figures on the same cases.

    Attributes
    ----------
    figures : dict of str to float64 array, shape [B, 4]
        One row a case (a person at a step), columns as `METRICS`.
    queries : dict of str to float
        Mean number of vectors a case.
    """

    figures: dict[str, Figures]
    queries: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """B."""
        return len(next(iter(self.figures.values())))

    def means(self, method: str, *, seed: int = 0) -> list[Interval]:
        """Each metric's mean with its 95 % bootstrap interval over cases."""
        return [bootstrap(column, seed=seed) for column in self.figures[method].T]

    def lifts(self, method: str, over: str, *, seed: int = 0) -> list[Interval]:
        """Each metric's lift over another method, as the paper prints it, paired on the cases."""
        pairs = zip(self.figures[method].T, self.figures[over].T, strict=True)
        return [ratio_lift(a, b, seed=seed) for a, b in pairs]


@dataclass(frozen=True, slots=True)
class _Case:
    person: Person
    history: IndexVector
    targets: IndexVector
    negatives: IndexVector


def walk_forward(
    log: WalkLog, methods: Mapping[str, Representation], options: WalkOptions
) -> WalkReport:
    """Measure every method at every step on the same people, actions, negatives and luck.

    Metrics of a case, averaged over cases: *relevance*, the share of the step's items with
    cosine >= 0.8 to any named item; *recall*, the share named themselves; *R-precision*, of the
    T items acted on ranked among the negatives by their largest cosine to any of the person's
    vectors, the share in the first T; *reciprocal rank*, the mean of 1 / rank of those items
    there. Ties go against the method.

    Raises
    ------
    InputError
        If no step has a person with a history and an action.
    """
    figures: dict[str, list[Figures]] = {name: [] for name in methods}
    sizes: dict[str, list[int]] = {name: [] for name in methods}
    for cases in _batches(log, options):
        near = [
            log.vectors[case.targets] @ log.vectors.T >= options.relevant_cosine for case in cases
        ]
        for name, method in methods.items():
            queries = [method.queries(case.person) for case in cases]
            named = retrieve(
                log.vectors, queries, cases_exclude(cases, options), options.candidates
            )
            sizes[name] += [len(q) for q in queries]
            figures[name].append(
                np.array(
                    [
                        (*_retrieved(c.targets, n, close), *_ranked(log.vectors, q, c))
                        for c, q, n, close in zip(cases, queries, named, near, strict=True)
                    ]
                )
            )
    if not any(figures.values()):
        raise InputError(
            f"Got no person with {options.min_actions} actions before a step and one in it, "
            "expected some: move start_ms or make the steps longer.",
            field="start_ms",
        )
    notes = [
        f"no impressions: ranked against {options.negatives} items per action drawn by popularity"
    ]
    return WalkReport(
        {name: np.concatenate(parts) for name, parts in figures.items()},
        {name: float(np.mean(parts)) for name, parts in sizes.items()},
        notes,
    )


def retrieve(
    vectors: FloatMatrix,
    queries: Sequence[FloatMatrix],
    exclude: Sequence[IndexVector],
    candidates: int,
) -> list[IntVector]:
    """Name the nearest ``floor(candidates / E)`` items of each query of each case, exactly, by one
    matrix product.

    Parameters
    ----------
    vectors : float32 array, shape [N, D]
        Unit norm; zero rows are never named.
    queries : sequence of float32 arrays, shape [E, D]
        One a case.
    exclude : sequence of int arrays
        Items a case may not name.

    Returns
    -------
    list of int64 arrays
        Positions named for each case, once each, at most ``candidates``.
    """
    cosine = np.concatenate(queries) @ vectors.T
    cosine[:, ~vectors.any(axis=1)] = -np.inf
    out, at = [], 0
    for query, hidden in zip(queries, exclude, strict=True):
        rows = cosine[at : at + len(query)]
        at += len(query)
        rows[:, hidden] = -np.inf
        each = min(max(candidates // len(query), 1), rows.shape[1])
        nearest = np.argpartition(-rows, each - 1, axis=1)[:, :each]
        there = np.isfinite(np.take_along_axis(rows, nearest, axis=1))
        out.append(np.unique(nearest[there])[:candidates].astype(np.int64))
    return out


def cases_exclude(cases: Sequence[_Case], options: WalkOptions) -> list[IndexVector]:
    """The items each case may not name: its own, where only new ones count."""
    return [case.history if options.new_only else case.history[:0] for case in cases]


def _retrieved(
    targets: IndexVector, named: IntVector, near: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Relevance and recall of one case; ``near`` [T, N] marks the items close to each target."""
    return float(near[:, named].any(axis=1).mean()), float(np.isin(targets, named).mean())


def _ranked(vectors: FloatMatrix, queries: FloatMatrix, case: _Case) -> tuple[float, float]:
    """R-precision and mean reciprocal rank of one case."""
    wanted = (vectors[case.targets] @ queries.T).max(axis=1)
    others = (vectors[case.negatives] @ queries.T).max(axis=1)
    # A negative at the same score stands before an action.
    order = np.argsort(-np.concatenate([others, wanted]), kind="stable")
    place = np.flatnonzero(order >= len(others))
    return float((place < len(wanted)).mean()), float((1 / (place + 1)).mean())


def _batches(log: WalkLog, options: WalkOptions) -> Iterator[list[_Case]]:
    """The cases of all steps, some at a time, each seeded by its step and user."""
    usable = np.asarray(log.vectors.any(axis=1))[log.item_idx]
    user, item, ts = log.user_idx[usable], log.item_idx[usable], log.ts_ms[usable]
    for step in range(options.steps):
        now = options.start_ms + int(step * options.step_days * DAY_MS)
        begin, middle, end = np.searchsorted(
            ts,
            [
                now - int(options.window_days * DAY_MS),
                now,
                now + int(options.step_days * DAY_MS),
            ],
        )
        popularity = np.bincount(item[begin:middle], minlength=len(log.vectors)).astype(np.float64)
        past = _by_user(user[begin:middle])
        future = _by_user(user[middle:end])
        both = [u for u in future if len(past.get(u, ())) >= options.min_actions]
        rng = np.random.default_rng([options.seed, step])
        chosen = rng.permutation(sorted(both))[: options.users_per_step]
        cases = []
        for u in chosen:
            events = begin + past[u][-options.max_actions :]
            history = np.unique(item[begin + past[u]])
            targets = np.unique(item[middle + future[u]])
            if options.new_only:
                targets = np.setdiff1d(targets, history)
            if len(targets) == 0:
                continue
            seed = (options.seed, step, int(u))
            negatives = _negatives(popularity, targets, options.negatives, seed)
            age_days = ((now - ts[events]) / DAY_MS).astype(np.float32)
            person = Person(log.vectors[item[events]], age_days, seed)
            cases.append(_Case(person, history, targets, negatives))
        for at in range(0, len(cases), BATCH):
            yield cases[at : at + BATCH]


def _by_user(user_idx: IndexVector) -> dict[int, IntVector]:
    """Positions of each user's rows, in order."""
    order = np.argsort(user_idx, kind="stable")
    users, starts = np.unique(user_idx[order], return_index=True)
    return dict(zip(users.tolist(), np.split(order, starts[1:]), strict=True)) if len(users) else {}


def _negatives(
    popularity: Figures, targets: IndexVector, per_action: int, seed: tuple[int, ...]
) -> IndexVector:
    """Draw items by popularity, each once and never a target; fewer if there are not enough."""
    allowed: BoolVector = popularity > 0
    allowed[targets] = False
    pool = np.flatnonzero(allowed)
    keys = np.log(popularity[pool]) + np.random.default_rng((*seed, 1)).gumbel(size=len(pool))
    return pool[np.argsort(-keys)[: per_action * len(targets)]].astype(np.int32)
