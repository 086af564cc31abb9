"""Examples: who is asked, what followed, what is drawn, and that nothing looks ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wayline.clock import DAY_MS, HOUR_MS
from wayline.config import SequencesConfig
from wayline.errors import ConfigError
from wayline.ranking.examples.heads import Heads, choose_heads
from wayline.ranking.examples.newest import Newest, Tokens
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.sampled import (
    Past,
    People,
    Question,
    answer,
    ask,
    block_of,
    draw_rows,
    sample_examples,
)
from wayline.ranking.examples.selected import Selecting
from wayline.ranking.features import FEATURES, ItemState
from wayline.ranking.leaks import find_leaks
from wayline.ranking.selection import TokenShares
from wayline.retrieval.fit import Wants, count_tables
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.recipe import plain_recipe
from wayline.retrieval.signals import HALF_LIVES_DAYS, SignalTables

N_ITEMS, N_USERS = 30, 25
BUY, RETURN = 1, 2
HEADS = Heads(
    ("buy", "return"),
    np.array([BUY, RETURN]),
    np.array([DAY_MS, 30 * DAY_MS]),
    np.array([1.0, -1.0], np.float32),
    np.array([1.0, -1.0], np.float32),
)


@pytest.fixture(scope="module")
def log() -> tuple[People, Wants]:
    rng = np.random.default_rng(0)
    m = 600
    users, items = rng.integers(0, N_USERS, m), rng.integers(0, N_ITEMS, m)
    ts_ms = np.sort(rng.integers(0, 100 * DAY_MS, m)) + 1_600_000_000_000
    action = np.where(rng.random(m) < 0.1, RETURN, BUY).astype(np.int16)
    worth = np.where(action == BUY, 1.0, -1.0).astype(np.float32)
    people = People.of(users, items, action, ts_ms, worth, N_USERS)
    wanting = np.flatnonzero(worth > 0)
    pair = users[wanting] * 1000 + items[wanting]
    rows = wanting[np.sort(np.unique(pair, return_index=True)[1])]
    return people, Wants(users[rows], items[rows], ts_ms[rows], worth[rows], N_USERS, N_ITEMS)


@pytest.fixture(scope="module")
def past(log: tuple[People, Wants]) -> Past:
    _, wants = log
    before = wants.where(wants.ts_ms <= int(wants.ts_ms[len(wants) // 2]))
    vectors = np.random.default_rng(1).normal(size=(N_ITEMS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    popularity = Popularity(wants.ts_ms, wants.item_idx, N_ITEMS, HALF_LIVES_DAYS, None)
    born = np.full(N_ITEMS, int(wants.ts_ms[0]))
    tables = SignalTables(count_tables(before), vectors, popularity, None)
    known = np.bincount(before.item_idx, minlength=N_ITEMS) > 0
    known[:5] = False  # nobody had wanted these yet
    return Past(tables, ItemState(vectors, born, popularity), plain_recipe(), 0, known)


def middle(wants: Wants) -> int:
    return int(wants.ts_ms[len(wants) // 2])


def test_a_question_just_before_an_action_does_not_know_it(
    log: tuple[People, Wants], past: Past
) -> None:
    people, wants = log
    rng = np.random.default_rng(0)
    questions = ask(people, middle(wants), int(wants.ts_ms[-1]), 60, rng, past.known)
    assert any(not q.between for q in questions)
    for q in questions:
        times = people.ts_ms[people.rows(q.user_idx)]
        assert (times[: q.known] <= q.at_ts_ms + 1).all()
        if not q.between:
            assert times[q.known] == q.at_ts_ms + 1


def test_items_that_nobody_had_wanted_are_neither_asked_for_nor_shown(
    log: tuple[People, Wants], past: Past
) -> None:
    people, wants = log
    rng = np.random.default_rng(0)
    questions = ask(people, middle(wants), int(wants.ts_ms[-1]), 60, rng, past.known)
    before = [q for q in questions if not q.between]
    asked = [people.item_idx[people.rows(q.user_idx)][q.known] for q in before]
    assert past.known[asked].all()
    examples = sample_examples(
        people, past, questions, HEADS, negatives=8, reading=Newest(10), rng=rng, exclude_seen=False
    )
    assert past.known[examples.item_idx].all()


def test_nothing_in_the_features_or_tokens_knows_the_future(
    log: tuple[People, Wants], past: Past
) -> None:
    people, wants = log
    rng = np.random.default_rng(1)
    questions = ask(people, middle(wants), int(wants.ts_ms[-1]), 40, rng, past.known)
    assert find_leaks(people, wants, past, questions, HEADS, reading=Newest(20)) == []


def test_a_feature_that_looks_ahead_is_found(log: tuple[People, Wants], past: Past) -> None:
    people, wants = log

    class Clairvoyant(Popularity):
        def view(self, at_ts_ms: int, half_life_days: float):  # type: ignore[no-untyped-def]
            return super().view(at_ts_ms + 20 * DAY_MS, half_life_days)

    ahead = Clairvoyant(wants.ts_ms, wants.item_idx, N_ITEMS, HALF_LIVES_DAYS, None)
    leaky = Past(
        past.tables,
        ItemState(past.items.vectors, past.items.born_ts_ms, ahead),
        past.recipe,
        0,
        past.known,
    )
    rng = np.random.default_rng(1)
    questions = ask(people, middle(wants), int(wants.ts_ms[-1]), 20, rng, past.known)
    found = find_leaks(people, wants, leaky, questions, HEADS, reading=Newest(20))
    assert any(line.startswith("item.count_") for line in found)


def test_selected_tokens_know_nothing_later_and_those_that_would_are_found(
    log: tuple[People, Wants], past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, wants = log
    rng = np.random.default_rng(1)
    questions = ask(people, middle(wants), int(wants.ts_ms[-1]), 20, rng, past.known)
    shares = TokenShares(6, 3, 3, 0)
    reading = Selecting(shares, ("buy", "return"), SequencesConfig()).over(past.items.vectors)
    assert find_leaks(people, wants, past, questions, HEADS, reading=reading) == []

    def ahead(people: People, question: Question, *rest: object) -> object:
        every = people.rows(question.user_idx)
        return block_of(people, replace(question, known=every.stop - every.start), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("wayline.ranking.leaks.block_of", ahead)
    found = find_leaks(people, wants, past, questions, HEADS, reading=reading)
    assert any(line.startswith("tokens knows of later actions") for line in found)


def test_labels_are_what_followed_within_each_heads_own_window(past: Past) -> None:
    start = 1_600_000_000_000
    items = np.array([0, 1, 2, 3, 4, 3, 5])
    action = np.array([BUY, BUY, BUY, BUY, BUY, RETURN, BUY], np.int16)
    hours = np.array([0, 1, 2, 10, 12, 10 + 24 * 20, 50])
    order = np.argsort(hours, kind="stable")
    ts_ms = start + hours * HOUR_MS
    worth = np.where(action == BUY, 1.0, -1.0).astype(np.float32)
    people = People.of(
        np.zeros(7, np.int64), items[order], action[order], ts_ms[order], worth[order], 1
    )
    found = answer(people, past, Question(0, start + 9 * HOUR_MS, 3), HEADS, exclude_seen=False)
    assert found is not None
    labels = dict(zip(found.item_idx.tolist(), found.labels.tolist(), strict=True))
    assert labels.get(3, [1.0, 1.0]) == [1.0, 1.0]  # bought within a day, returned within thirty
    assert labels.get(4, [1.0, 0.0]) == [1.0, 0.0]
    assert labels.get(5, [0.0, 0.0]) == [0.0, 0.0]  # more than a day later
    assert found.features.shape == (len(found.item_idx), len(FEATURES))


def test_drawn_negatives_stand_for_all_of_them() -> None:
    labels = np.zeros((50, 2), np.float32)
    labels[[7, 9], 0] = 1
    rows, weight = draw_rows(labels, 12, np.random.default_rng(0))
    assert rows[:2].tolist() == [7, 9]
    assert len(rows) == 14
    assert weight.sum() == pytest.approx(50)
    every, weight = draw_rows(labels, 1000, np.random.default_rng(0))
    assert len(every) == 50
    assert (weight == 1).all()


def test_examples_join_in_time_order_and_keep_their_rows(
    log: tuple[People, Wants], past: Past
) -> None:
    people, wants = log
    parts = [
        sample_examples(
            people, past, ask(people, middle(wants), int(wants.ts_ms[-1]), 20, np.random.default_rng(n), past.known),
            HEADS, negatives=5, reading=Newest(10), rng=np.random.default_rng(n),
        )
        for n in range(2)
    ]  # fmt: skip
    joined = Examples.joined(parts)
    assert len(joined) == len(parts[0]) + len(parts[1])
    assert (np.diff(joined.at_ts_ms) >= 0).all()
    for part in parts:
        at = int(np.flatnonzero(joined.at_ts_ms == part.at_ts_ms[0])[0])
        rows = slice(joined.begin[at], joined.begin[at + 1])
        if joined.user_idx[at] == part.user_idx[0]:
            np.testing.assert_array_equal(joined.item_idx[rows], part.item_idx[: part.begin[1]])
            np.testing.assert_array_equal(joined.features[rows], part.features[: part.begin[1]])


def test_tokens_are_newest_first_and_survive_packing() -> None:
    tokens = Tokens.empty(1, 4)
    tokens.put(0, np.arange(6), np.arange(1, 7, dtype=np.int16), np.arange(6) * 10)
    assert tokens.item_idx.tolist() == [[5, 4, 3, 2]]
    again = Tokens.unpack(tokens.pack(), 4)
    for name in ("item_idx", "action_key", "ts_ms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(tokens, name))
    assert Tokens.unpack(b"", 3).item_idx.tolist() == [[-1, -1, -1]]
    short = Tokens.empty(1, 4)
    short.put(0, np.array([9]), np.array([1], np.int16), np.array([5]))
    assert short.item_idx.tolist() == [[9, -1, -1, -1]]


def test_heads_are_the_actions_that_are_worth_something_and_happen() -> None:
    heads = choose_heads(
        ["buy", "view", "hide", "rare", "interest.mute"],
        np.array([0, 100, 100, 60, 3, 100]),
        np.array([0, 1.0, 0.0, -0.5, 1.0, -1.0], np.float32),
        {"hide": -3.0},
        window_hours=2,
        regret_days=10,
    )
    assert heads.names == ("buy", "hide")
    assert heads.window_ms.tolist() == [2 * HOUR_MS, 10 * DAY_MS]
    assert heads.weight.tolist() == [1.0, -3.0]
    assert heads.wanting == [0]


def test_a_label_weight_of_no_head_is_refused() -> None:
    from wayline.config import RankingConfig
    from wayline.ranking.training.fitting import label_weights

    settings = RankingConfig(label_weights={"buy.return": 3.0})
    assert label_weights(HEADS, settings) == ((1.0, 3.0), (1.0, 1.0))
    with pytest.raises(ConfigError, match=r"HEAD\.LABEL of buy, return"):
        label_weights(HEADS, RankingConfig(label_weights={"buy.lick": 3.0}))
