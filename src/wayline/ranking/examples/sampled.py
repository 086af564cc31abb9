"""Sampled examples: what people did, among what retrieval, popularity and the moment's trends could have shown them.

For a log without impressions. The newest part of the log is cut into windows. For each window everything a feed reads
(item-to-item tables, vectors, counts) is made from what came before it, and people are asked about at moments inside
it, with all that they had done by then: half just before an action, as somebody who opens a page asks, half at moments
between visits. Candidates are the best of every signal, as in a feed; an item that no signal brings could
never have been shown and is no example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.readings import Block, SequenceReading
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.selected import NOBODY_SHOWN
from wayline.ranking.features import FEATURES, ItemState, read_features, signals_of
from wayline.retrieval.recipe import VISIT_MS, Recipe, regime_of
from wayline.retrieval.signals import NEW_SIGNALS, SIGNALS, Reading, SignalTables
from wayline.schema import BoolVector, FloatMatrix, FloatVector, ImpressionColumns, IntVector
from wayline.sequences.history import UserSequence
from wayline.sequences.person import ActionVectors

Shown = Callable[[int, int], ImpressionColumns]

TOP_PER_SIGNAL = 30
# Not the newest items: nearly nobody answered them, and as examples they made the ranker worse (docs/experiments.md).
BRINGING = tuple(name for name in SIGNALS if name not in NEW_SIGNALS)
MIN_HISTORY = 3
BETWEEN = 1 / 2  # of the requests, at moments between visits
MOMENTS = 12


@dataclass(frozen=True, slots=True)
class People:
    """Everybody's actions sorted by user, then time, shape [M]; ``begin`` [U + 1] says where each user starts.

    ``first`` [M] is true for the wanting actions that are the first of their user on their item, ``worth`` is of every
    action, scaled to 1.
    """

    item_idx: IntVector
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector
    worth: FloatVector
    first: npt.NDArray[np.bool_]
    begin: IntVector

    @classmethod
    def of(
        cls,
        user_idx: IntVector,
        item_idx: IntVector,
        action_key: npt.NDArray[np.int16],
        ts_ms: IntVector,
        worth: FloatVector,
        n_users: int,
    ) -> People:
        """Sort a log that is in time order."""
        order = np.argsort(user_idx, kind="stable")
        users, items, worth = user_idx[order], item_idx[order], worth[order]
        wanting = np.flatnonzero(worth > 0)
        pair = users[wanting] * np.int64(item_idx.max(initial=0) + 1) + items[wanting]
        first = np.zeros(len(order), bool)
        first[wanting[np.unique(pair, return_index=True)[1]]] = True
        begin = np.searchsorted(users, np.arange(n_users + 1))
        return cls(items, action_key[order], ts_ms[order], worth, first, begin)

    def rows(self, user_idx: int) -> slice:
        """Where one user's actions stand."""
        return slice(int(self.begin[user_idx]), int(self.begin[user_idx + 1]))


@dataclass(frozen=True, slots=True)
class Question:
    """One person asked about at one moment: the first ``known`` of their actions have happened.

    ``between`` two visits the next thing they came to want counts too, however long they stayed away.
    """

    user_idx: int
    at_ts_ms: int
    known: int
    between: bool = False


def ask(
    people: People,
    since_ts_ms: int,
    until_ts_ms: int,
    n: int,
    rng: np.random.Generator,
    known: BoolVector,
) -> list[Question]:
    """Choose whom to ask, and when, in ``(since, until]``: just before a first-time want, or between visits.

    Wants of items that are not ``known`` [N] are not asked for.
    """
    users = len(people.begin) - 1
    owner = np.repeat(np.arange(users), np.diff(people.begin))
    wanted = np.cumsum(people.first)  # first-time wants up to and with each row, over everybody
    before_own = wanted - people.first - np.concatenate([[0], wanted])[people.begin[owner]]
    late = np.flatnonzero(
        people.first
        & (people.ts_ms > since_ts_ms)
        & (people.ts_ms <= until_ts_ms)
        & (before_own >= MIN_HISTORY)
        & known[people.item_idx]
    )
    if not len(late):
        return []
    chosen = rng.choice(late, min(int(n * (1 - BETWEEN)), len(late)), replace=False)
    asked = [
        # A millisecond before: what happened then is what is asked for, popularity must not have counted it.
        Question(int(owner[row]), int(people.ts_ms[row]) - 1, int(row - people.begin[owner[row]]))
        for row in chosen
    ]
    moments = np.sort(rng.choice(people.ts_ms[late], MOMENTS))
    pairs = [
        (user, int(moment))
        for moment in moments
        for user in np.unique(owner[late[people.ts_ms[late] > moment]])
    ]
    for k in rng.permutation(len(pairs))[: int(n * BETWEEN)]:
        user, moment = pairs[k]
        times = people.ts_ms[people.rows(user)]
        happened = int(np.searchsorted(times, moment, side="right"))
        asked.append(Question(user, moment, happened, between=True))
    return sorted(asked, key=lambda q: q.at_ts_ms)


@dataclass(frozen=True, slots=True)
class Past:
    """What a feed would have read at the time: made from actions up to the window's beginning and no later ones.

    Popularity alone goes on counting, as it does while serving; it is read as of each moment.

    ``known`` [N] are the items that somebody had wanted by then. Others are neither asked for nor candidates: tables
    of last week know nothing of this week's items, those of last night know nearly all of them, and a ranker trained
    on the former learns that what nothing is known of is what people want (docs/experiments.md).
    """

    tables: SignalTables
    items: ItemState
    recipe: Recipe
    space: int
    known: BoolVector


def sample_examples(
    people: People,
    past: Past,
    questions: list[Question],
    heads: Heads,
    *,
    negatives: int,
    reading: SequenceReading,
    rng: np.random.Generator,
    exclude_seen: bool = True,
    shown: Shown = lambda _user_idx, _at_ts_ms: NOBODY_SHOWN,
    progress: Callable[[float], None] = lambda _: None,
) -> Examples:
    """Answer the questions of one window: features, tokens and labels of drawn candidates.

    Parameters
    ----------
    negatives : int
        Drawn per request among the candidates that nothing followed; each stands for its share of them.
    reading : Newest or Selecting
        What is kept of the person's actions; over the window's items.
    exclude_seen : bool
        Leave out what the person had wanted before, as a feed with ``feed.repeat = "exclude"`` does.
    shown : callable
        What a user had been shown by a moment; asked by readings that read impressions.

    Returns
    -------
    Examples
        Requests that retrieval had no candidate for are left out.
    """
    blocks: list[Block] = []
    answers: list[Answer] = []
    for number, question in enumerate(questions):
        found = answer(
            people, past, question, heads, exclude_seen=exclude_seen, negatives=negatives, rng=rng
        )
        if number % 200 == 0:
            progress(number / len(questions))
        if found is None:
            continue
        blocks.append(block_of(people, question, reading, found.item_idx, shown))
        answers.append(found)
    return _examples(answers, reading.joined(blocks), past.space, len(heads))


def block_of(
    people: People, question: Question, reading: SequenceReading, item_idx: IntVector, shown: Shown
) -> Block:
    """Give what candidates of a question are read against: of the actions that had happened, as a feed would."""
    start = int(people.begin[question.user_idx])
    known = slice(start, start + question.known)
    actions = ActionVectors(
        people.item_idx[known] + 1, people.action_key[known], people.ts_ms[known], np.zeros(question.known, np.int64)
    )  # fmt: skip
    # What this visit's feeds showed is what is asked about: a feed has not shown its candidates yet.
    before_ts_ms = question.at_ts_ms - VISIT_MS
    return reading.block(
        reading.history(actions, lambda: shown(question.user_idx, before_ts_ms)), item_idx
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """The candidates of one question, as columns: features [C, F], base [C], labels [C, H], weight [C]."""

    question: Question
    item_idx: IntVector
    features: FloatMatrix
    base: FloatVector
    labels: FloatMatrix
    weight: FloatVector


def answer(
    people: People,
    past: Past,
    question: Question,
    heads: Heads,
    *,
    exclude_seen: bool = True,
    negatives: int | None = None,
    rng: np.random.Generator | None = None,
) -> Answer | None:
    """Find the candidates of one question, what was known of them and what followed; None without any.

    With ``rng`` only ``negatives`` of those that nothing followed are drawn, and only what is drawn is described.
    """
    own = people.rows(question.user_idx)
    known = slice(own.start, own.start + question.known)
    history = UserSequence(
        people.item_idx[known], people.ts_ms[known], people.worth[known], np.arange(question.known)
    ).wanted()
    at_ts_ms = question.at_ts_ms
    reading = Reading(past.tables, SIGNALS, history, at_ts_ms)
    item_idx = np.unique(np.concatenate([reading.top(name, TOP_PER_SIGNAL) for name in BRINGING]))
    item_idx = item_idx[past.known[item_idx]]
    if exclude_seen:
        item_idx = item_idx[~np.isin(item_idx, history.item_idx)]
    if not len(item_idx):
        return None
    labels = _labels(people, slice(known.stop, own.stop), question, item_idx, heads)
    weight = np.ones(len(item_idx), np.float32)
    if rng is not None and negatives is not None:
        rows, weight = draw_rows(labels, negatives, rng)
        item_idx, labels = item_idx[rows], labels[rows]
    features = read_features(reading, past.items, history, at_ts_ms, item_idx)
    newest = int(history.ts_ms[-1]) if len(history) else 0
    regime = regime_of(len(history), newest, at_ts_ms)
    return Answer(
        question,
        item_idx,
        features,
        base_scores(features, past.recipe, regime),
        labels,
        weight,
    )


def _labels(
    people: People, later: slice, question: Question, item_idx: IntVector, heads: Heads
) -> FloatMatrix:
    """What followed within each head's window, shape [C, H]."""
    labels = np.zeros((len(item_idx), len(heads)), np.float32)
    end = later.start + int(
        np.searchsorted(
            people.ts_ms[later], question.at_ts_ms + heads.window_ms.max(initial=0), side="right"
        )
    )
    items, keys = people.item_idx[later.start : end], people.action_key[later.start : end]
    wait_ms = people.ts_ms[later.start : end] - question.at_ts_ms
    at = np.searchsorted(item_idx, items)
    at[at == len(item_idx)] = 0
    shown = item_idx[at] == items
    for head in range(len(heads)):
        hit = shown & (keys == heads.action_key[head]) & (wait_ms <= heads.window_ms[head])
        labels[at[hit], head] = 1.0
    if question.between:
        _label_next(people, later, item_idx, heads, labels)
    return labels


def _label_next(
    people: People, later: slice, item_idx: IntVector, heads: Heads, labels: FloatMatrix
) -> None:
    """Mark the next first-time want, if it is among the candidates."""
    nexts = np.flatnonzero(people.first[later])
    if not len(nexts):
        return
    row = later.start + int(nexts[0])
    at = np.flatnonzero(item_idx == people.item_idx[row])
    head = np.flatnonzero(heads.action_key == people.action_key[row])
    if len(at) and len(head):
        labels[at[0], head[0]] = 1.0


def draw_rows(
    labels: FloatMatrix, negatives: int, rng: np.random.Generator
) -> tuple[IntVector, FloatVector]:
    """Keep every candidate that something followed, and some of the others for all of them; rows and weights."""
    followed = labels.any(axis=1)
    rest = np.flatnonzero(~followed)
    drawn = rng.choice(rest, min(negatives, len(rest)), replace=False)
    rows = np.concatenate([np.flatnonzero(followed), np.sort(drawn)])
    weight = np.ones(len(rows), np.float32)
    weight[int(followed.sum()) :] = len(rest) / max(len(drawn), 1)
    return rows, weight


def base_scores(features: FloatMatrix, recipe: Recipe, regime: str) -> FloatVector:
    """The score that serves without a ranker, from rounded features, shape [C]."""
    weights = recipe.weights[regime]
    by_signal = np.array([weights.get(name, 0.0) for name in SIGNALS], np.float32)
    return np.asarray(signals_of(features) @ by_signal, dtype=np.float32)


def _examples(answers: list[Answer], tokens: Block, space: int, n_heads: int) -> Examples:
    n = len(answers)
    size = [len(a.item_idx) for a in answers]
    nothing = (
        np.zeros(0, np.int64),
        np.zeros((0, len(FEATURES)), np.float32),
        np.zeros(0, np.float32),
        np.zeros((0, n_heads), np.float32),
        np.zeros(0, np.float32),
    )
    columns = zip(
        *((a.item_idx, a.features, a.base, a.labels, a.weight) for a in answers), strict=True
    )
    return Examples(
        np.array([a.question.at_ts_ms for a in answers], np.int64),
        np.array([a.question.user_idx for a in answers], np.int64),
        np.concatenate([[0], np.cumsum(size)]).astype(np.int64),
        np.full(n, space, np.int32),
        np.array([a.question.between for a in answers], bool),
        tokens,
        *([np.concatenate(column) for column in columns] if n else nothing),
    )
