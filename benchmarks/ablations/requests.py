"""Requests with candidates and labels, point-in-time: what a ranker is trained on and judged by.

A request is a moment of a person's. Its candidates are what the person then did and what they could have been shown
instead: items popular at that moment, items that others touched around the person's history, any item of the
catalogue, and (where repeats count) the person's own. Labels come from after the moment, everything else from before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS

from .logs import Log

TRAIN, VALIDATION, TEST = 0, 1, 2
N_NUMERIC = 8


@dataclass(frozen=True)
class Sizes:
    """How much of everything; chosen for two shared cores.

    ``candidates`` a request in validation and test, of which training reads the first ``trained``: all that is
    labelled stands first, then negatives.
    """

    train: int = 4000
    validation: int = 500
    test: int = 1500
    candidates: int = 12
    trained: int = 6
    per_user: int = 40

    def of(self, part: int) -> int:
        """Requests of a part."""
        return (self.train, self.validation, self.test)[part]


@dataclass
class Shown:
    """Impressions that came to nothing, by user and then time."""

    user_idx: np.ndarray
    item_idx: np.ndarray
    ts_ms: np.ndarray

    def span(self, user_idx: np.ndarray, ts_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First row and the row behind the last of each user before each moment."""
        key = (self.user_idx << 42) + self.ts_ms
        user_idx = np.asarray(user_idx)
        return np.searchsorted(key, user_idx << 42), np.searchsorted(key, (user_idx << 42) + ts_ms)


@dataclass
class Task:
    """Everything that an arm is trained and judged on; nothing in it depends on the arm or its seed.

    Attributes
    ----------
    heads : tuple of str
    weights : tuple of float
        Of the utility ``sum(weight * P(head))``, fixed beforehand.
    user_idx, ts_ms, part, end : int64 arrays, shape [R]
        ``end`` is the row behind the person's last action before the request.
    candidate : int64 array, shape [R, C]
    label : float32 array, shape [R, C, H]
    numeric : float32 array, shape [R, C, F]
    """

    log: Log
    heads: tuple[str, ...]
    weights: tuple[float, ...]
    user_idx: np.ndarray
    ts_ms: np.ndarray
    part: np.ndarray
    candidate: np.ndarray
    label: np.ndarray
    trained: int
    shown: Shown | None = None
    negative_actions: tuple[int, ...] = ()
    end: np.ndarray = field(init=False)
    numeric: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.end = self.log.end(self.user_idx, self.ts_ms)
        self.numeric = _numeric(self)

    def rows(self, part: int) -> np.ndarray:
        """Requests of a part."""
        return np.flatnonzero(self.part == part)

    @property
    def history(self) -> np.ndarray:
        """Actions of the person before each request."""
        return self.end - self.log.starts[self.user_idx]


def _numeric(task: Task) -> np.ndarray:
    """Few and plain: popularity at three speeds, age, hour of day, how much and how long ago the person acted."""
    log, ts = task.log, task.ts_ms[:, None]
    popular = np.log1p(log.popularity(task.candidate, np.broadcast_to(ts, task.candidate.shape)))
    age_h = np.maximum(ts - log.first_ts_ms[task.candidate], 0) / HOUR_MS
    angle = 2 * np.pi * (task.ts_ms % DAY_MS) / DAY_MS
    last = np.where(task.history > 0, task.ts_ms - log.ts_ms[np.maximum(task.end - 1, 0)], 0)
    person = [np.sin(angle), np.cos(angle), np.log1p(task.history), np.log1p(last / HOUR_MS)]
    wide = [np.broadcast_to(column[:, None], task.candidate.shape) for column in person]
    columns = [*np.moveaxis(popular, -1, 0), np.log1p(age_h), *wide]
    return np.stack(columns, axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Rules:
    """How requests are drawn from a real log.

    Attributes
    ----------
    weights : tuple of float
        Of the heads, in the order of the log's actions.
    horizon_ms : tuple of int
        How long after the request each head's action still counts.
    wanted : tuple of int
        Action ids that make a request, the first of which is the main head.
    first, validation_from, test_from : float
        Shares of the actions: before ``first`` only vectors are made.
    repeats : bool
        Whether items already acted on may be candidates.
    rare : tuple of int
        Action ids whose requests are drawn first, so that there is something to count.
    """

    weights: tuple[float, ...]
    horizon_ms: tuple[int, ...]
    wanted: tuple[int, ...]
    first: float = 0.5
    validation_from: float = 0.8
    test_from: float = 0.87
    repeats: bool = False
    rare: tuple[int, ...] = ()
    positives: int = 3


def sample(log: Log, rules: Rules, sizes: Sizes, *, seed: int = 0) -> Task:
    """Draw the requests of a log; the same for every arm."""
    rng = np.random.default_rng(seed)
    cuts = np.quantile(log.ts_ms, [rules.first, rules.validation_from, rules.test_from])
    wanted = np.isin(log.action, rules.wanted)
    found: list[tuple[int, int, int, list[int], np.ndarray]] = []
    bounds = [*cuts.tolist(), float(log.ts_ms.max()) + 1]
    for part in (TRAIN, VALIDATION, TEST):
        # a label must not look into the part after its own
        last = bounds[part + 1] - (max(rules.horizon_ms) if part == TRAIN else 0)
        inside = wanted & (log.ts_ms >= bounds[part]) & (log.ts_ms < last)
        found += _draw(log, rules, sizes, part, rng.permutation(np.flatnonzero(inside)), rng)
    user, ts, part_of, items, labels = zip(*found, strict=True)
    return Task(
        log,
        log.actions,
        rules.weights,
        np.array(user, np.int64),
        np.array(ts, np.int64),
        np.array(part_of, np.int64),
        np.array(items, np.int64),
        np.stack(labels).astype(np.float32),
        sizes.trained,
        negative_actions=tuple(k + 1 for k, w in enumerate(rules.weights) if w < 0),
    )


def _draw(
    log: Log, rules: Rules, sizes: Sizes, part: int, rows: np.ndarray, rng: np.random.Generator
) -> list[tuple[int, int, int, list[int], np.ndarray]]:
    """Up to so many requests of a part, not too many of one person, rare labels first."""
    if rules.rare:
        rows = rows[np.argsort(~_leads_to(log, rules, rows), kind="stable")]
        half = sizes.of(part) // 2  # at most half of the requests are chosen for their rare label
        rare = int(_leads_to(log, rules, rows).sum())
        rows = np.concatenate([rows[: min(rare, half)], rng.permutation(rows[min(rare, half) :])])
    taken: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    out = []
    for row in rows.tolist():
        user, ts = int(log.user_idx[row]), int(log.ts_ms[row])
        if taken.get(user, 0) >= sizes.per_user or (user, ts) in seen:
            continue
        made = _request(log, rules, sizes, user, ts, rng)
        if made is not None:
            seen.add((user, ts))
            taken[user] = taken.get(user, 0) + 1
            out.append((user, ts, part, *made))
        if len(out) == sizes.of(part):
            break
    return out


def _leads_to(log: Log, rules: Rules, rows: np.ndarray) -> np.ndarray:
    """Which rows' items get a rare action of the same person within its horizon."""
    rare = np.flatnonzero(np.isin(log.action, rules.rare))
    key = (log.user_idx << 20) + log.item_idx
    order = rare[np.lexsort((log.ts_ms[rare], key[rare]))]
    sorted_key, ts = key[order], log.ts_ms[order]
    # the next rare action of the same pair: compare (pair, time) lexicographically
    merged = sorted_key.astype(object) * (1 << 42) + ts
    wanted = key[rows].astype(object) * (1 << 42) + log.ts_ms[rows]
    at = np.searchsorted(merged, wanted, side="left")
    near = at < len(order)
    near[near] = sorted_key[at[near]] == key[rows][near]
    horizon = max(rules.horizon_ms[a - 1] for a in rules.rare)
    near[near] = ts[at[near]] - log.ts_ms[rows][near] <= horizon
    return near


def _request(
    log: Log, rules: Rules, sizes: Sizes, user: int, ts: int, rng: np.random.Generator
) -> tuple[list[int], np.ndarray] | None:
    """Candidates, the labelled first, and their labels; None where the moment has nothing to find."""
    begin, until = int(log.starts[user]), int(log.starts[user + 1])
    now = begin + int(np.searchsorted(log.ts_ms[begin:until], ts, side="left"))
    past = set(log.item_idx[begin:now].tolist())
    after = range(now, until)
    labels: dict[int, np.ndarray] = {}
    for row in after:
        item, action, late = int(log.item_idx[row]), int(log.action[row]), log.ts_ms[row] - ts
        if late > max(rules.horizon_ms):
            break
        if (not rules.repeats and item in past) or log.first_ts_ms[item] >= ts:
            continue
        if late <= rules.horizon_ms[action - 1]:
            mark = labels.setdefault(item, np.zeros(len(rules.weights), np.float32))
            mark[action - 1] = 1.0
    wanted = [i for i, mark in labels.items() if any(mark[a - 1] for a in rules.wanted)]
    if not wanted or now - begin < 1:
        return None
    rarely = [i for i in wanted if any(labels[i][a - 1] for a in rules.rare)]
    common = [i for i in wanted if i not in rarely]
    rng.shuffle(common)
    positives = (rarely + common)[: rules.positives]
    refused = set(labels) | (set() if rules.repeats else past)
    negatives = _negatives(log, rules, refused, (begin, now), ts, sizes, len(positives), rng)
    items = positives + negatives
    if len(items) < sizes.candidates:
        return None
    nothing = np.zeros(len(rules.weights), np.float32)
    return items, np.stack([labels.get(i, nothing) for i in items])


def _negatives(
    log: Log,
    rules: Rules,
    refused: set[int],
    history: tuple[int, int],
    ts: int,
    sizes: Sizes,
    positives: int,
    rng: np.random.Generator,
) -> list[int]:
    """What the person could have been shown: popular then, near their history, anything, their own."""
    begin, now = history
    before = int(np.searchsorted(log.times, ts, side="left"))
    out: list[int] = []
    for _ in range(20 * sizes.candidates):
        luck = rng.random()
        if luck < 0.4:
            row = int(log.in_time[rng.integers(max(before - 5000, 0), before)])
            item = int(log.item_idx[row])
        elif luck < 0.7 and not (rules.repeats and luck < 0.55):
            item = _walk(log, begin, now, ts, rng)
        elif luck < 0.7:
            item = int(log.item_idx[rng.integers(begin, now)])
        else:
            item = int(log.item_idx[log.in_time[rng.integers(before)]])
        if item not in refused:
            refused.add(item)
            out.append(item)
        if len(out) + positives == sizes.candidates:
            break
    return out


def _walk(log: Log, begin: int, now: int, ts: int, rng: np.random.Generator) -> int:
    """An item of the newest twenty, somebody who touched it before, and what they touched beside it."""
    own = int(log.item_idx[rng.integers(max(now - 20, begin), now)])
    last = int(log.last_event(np.array([own]), np.array([ts]))[0])
    row = int(log.by_item[rng.integers(log.first_place[own], last + 1)])
    other = row + int(rng.integers(-3, 4))
    same = 0 <= other < len(log.item_idx) and log.user_idx[other] == log.user_idx[row]
    return int(log.item_idx[other]) if same and log.ts_ms[other] < ts else own
