"""Interests that follow action by action, and the build that puts them right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.config import InterestsConfig
from wayline.interests.everybody import find_everybodys_interests
from wayline.interests.interests import find_interests, nearest_within, no_interests
from wayline.interests.live import Counted, LiveInterests
from wayline.interests.online import Actions, clustered_afresh, join_actions
from wayline.interests.table import InterestRows, InterestTable
from wayline.sequences.history import UserSequence

CONFIG = InterestsConfig()
NOW = 1_700_000_000_000
RNG = np.random.default_rng(3)
CENTRES = np.linalg.qr(RNG.normal(size=(16, 16)))[0][:6]
TOPIC = np.repeat(np.arange(6), 10)  # item i belongs to topic i // 10
VECTORS = CENTRES[TOPIC] + 0.05 * RNG.normal(size=(60, 16))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
USABLE = np.ones(60, bool)
NAMES = {i: f"item-{i}" for i in range(60)}


def actions(rows: list[tuple[int, int, float]]) -> Actions:
    """Rows of (item, minutes after NOW, worth), oldest first."""
    item, minute, worth = (np.array(c) for c in zip(*rows, strict=True))
    return Actions(item.astype(np.int64), NOW + minute * 60_000, worth.astype(np.float32))


def join(base, ids, rows, now_minutes=60):  # type: ignore[no-untyped-def]
    return join_actions(
        base, ids, actions(rows), VECTORS, base_ts_ms=NOW, now_ts_ms=NOW + now_minutes * 60_000,
        alpha=CONFIG.alpha, decay_per_day=CONFIG.decay_per_day, user_id="u", item_ids=NAMES,
    )  # fmt: skip


def batch(rows: list[tuple[int, int, float]], now_minutes: int = 60):  # type: ignore[no-untyped-def]
    a = actions(rows)
    return find_interests(
        a.item_idx, VECTORS[a.item_idx], a.ts_ms, a.worth, now_ts_ms=NOW + now_minutes * 60_000,
        config=CONFIG,
    )  # fmt: skip


def test_a_first_action_starts_an_interest_and_its_like_joins_it() -> None:
    one, ids = join(no_interests(), [], [(0, 1, 1.0)])
    assert one.medoid_item_idx.tolist() == [0]
    two, same = join(one, ids, [(1, 2, 1.0)])
    assert same == ids
    assert sorted(two.members(0).tolist()) == [0, 1]


def test_an_action_far_from_every_interest_starts_one_of_its_own() -> None:
    base, ids = join(no_interests(), [], [(0, 1, 1.0), (1, 2, 1.0)])
    found, new = join(base, ids, [(25, 3, 1.0)])
    assert len(found) == 2
    assert ids[0] in new
    assert len(set(new)) == 2


def test_a_dislike_takes_an_interest_away_at_once_and_starts_none() -> None:
    base, ids = join(no_interests(), [], [(0, 1, 1.0), (25, 2, 1.0)])
    found, left = join(base, ids, [(0, 3, -1.0)])
    assert found.medoid_item_idx.tolist() == [25]
    assert len(left) == 1
    assert len(join(no_interests(), [], [(0, 1, -1.0)])[0]) == 0


def test_a_dislike_of_an_item_never_wanted_counts_against_the_interest_it_belongs_to() -> None:
    rows = [(0, 1, 1.0), (1, 2, 1.0), (25, 3, 1.0)]
    base, ids = join(no_interests(), [], rows)
    online, _ = join(base, ids, [(5, 4, -0.5)])
    whole = batch([*rows, (5, 4, -0.5)])
    untouched = batch(rows)
    assert whole.importance.sum() == pytest.approx(untouched.importance.sum() - 0.5, abs=1e-3)
    np.testing.assert_allclose(online.importance, whole.importance, rtol=1e-3)


def test_joining_gives_what_clustering_gives_where_interests_are_far_apart() -> None:
    rows = [(int(i), m, 1.0) for m, i in enumerate(RNG.permutation(60)[:40])]
    online, _ = join(no_interests(), [], rows)
    whole = batch(rows)
    as_sets = lambda s: {frozenset(s.members(q).tolist()) for q in range(len(s))}  # noqa: E731
    assert as_sets(online) == as_sets(whole)
    assert sorted(online.medoid_item_idx.tolist()) == sorted(whole.medoid_item_idx.tolist())
    np.testing.assert_allclose(np.sort(online.importance), np.sort(whole.importance))


def test_nearest_within_is_the_ward_height_of_joining() -> None:
    x = VECTORS[:1].astype(np.float64)
    members = VECTORS[1:4].astype(np.float64)
    centre = members.mean(axis=0)
    height = 2 * 3 / 4 * ((x[0] - centre) ** 2).sum()
    sums, sizes = members.sum(axis=0)[None], np.array([3.0])
    assert nearest_within(x, sums, sizes, height + 1e-9).tolist() == [0]
    assert nearest_within(x, sums, sizes, height - 1e-9).tolist() == [-1]


row = st.tuples(
    st.integers(0, 59), st.integers(0, 200), st.sampled_from([1.0, 1.0, 0.3, 0.0, -1.0])
)


def sequence(rows: list[tuple[int, int, float]]) -> UserSequence:
    """Rows in the order of the log, (item, days, worth), as one person's sequence."""
    ts = np.array([NOW + d * DAY_MS for _, d, _ in rows], np.int64)
    order = np.argsort(ts, kind="stable")
    return UserSequence(
        np.array([i for i, _, _ in rows], np.int64)[order],
        ts[order],
        np.array([w for _, _, w in rows], np.float32)[order],
        np.arange(1, len(rows) + 1)[order],
    )


def build(whole: UserSequence, before: LiveInterests | None = None) -> LiveInterests:
    """What a build of one person's log serves."""
    until = int(whole.ts_ms.max())
    frame = find_everybodys_interests(
        np.zeros(len(whole), np.int64), whole, VECTORS, USABLE, until_ts_ms=until, config=CONFIG,
        user_ids=lambda keys: ["u"] * len(keys), item_ids=lambda i: [NAMES[k] for k in i.tolist()],
        before=before, progress=lambda _: None,
    )  # fmt: skip
    counted = Counted(InterestTable(frame), int(whole.position.max()), until, np.array([until]))
    return LiveInterests(counted, VECTORS, USABLE, CONFIG, lambda i: [NAMES[k] for k in i.tolist()])


@given(st.lists(row, min_size=1, max_size=60), st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_after_a_build_the_live_interests_are_those_of_clustering_and_keep_their_ids(
    rows: list[tuple[int, int, float]], built_at: int
) -> None:
    whole = sequence(rows)
    first = sequence(rows[: max(min(built_at, len(rows)), 1)])
    at = int(whole.ts_ms.max())
    live = build(first)
    online = live.of(1, "u", whole, at)
    rebuilt = build(whole, live).of(1, "u", whole, at)
    telling = whole.worth != 0
    expected = find_interests(
        whole.item_idx[telling], VECTORS[whole.item_idx[telling]], whole.ts_ms[telling],
        whole.worth[telling], now_ts_ms=int(whole.ts_ms[telling].max(initial=0)), config=CONFIG,
    )  # fmt: skip
    got = rebuilt.interests
    assert got.medoid_item_idx.tolist() == expected.medoid_item_idx.tolist()
    assert got.member_item_idx.tolist() == expected.member_item_idx.tolist()
    np.testing.assert_allclose(got.share, expected.share, rtol=1e-9)
    # An interest whose members stayed the same through the build is still called the same.
    before = {frozenset(online.interests.members(q).tolist()): i for q, i in enumerate(online.ids)}
    after = {frozenset(got.members(q).tolist()): i for q, i in enumerate(rebuilt.ids)}
    for members in before.keys() & after.keys():
        assert before[members] == after[members]


@given(st.lists(row, min_size=2, max_size=70), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_it_does_not_matter_when_anybody_asked(rows: list[tuple[int, int, float]], chance) -> None:  # type: ignore[no-untyped-def]
    first = sequence(rows[:1])
    whole = sequence(rows)
    at = int(whole.ts_ms.max())
    asked_often, asked_once = build(first), build(first)
    for end in sorted(chance.sample(range(1, len(rows) + 1), k=min(5, len(rows)))):
        part = sequence(rows[:end])
        asked_often.of(1, "u", part, int(part.ts_ms.max()))
    often, once = asked_often.of(1, "u", whole, at), asked_once.of(1, "u", whole, at)
    assert often.ids == once.ids
    assert often.interests.member_item_idx.tolist() == once.interests.member_item_idx.tolist()
    assert often.interests.importance.tolist() == once.interests.importance.tolist()


@given(st.lists(row, min_size=2, max_size=40), st.integers(0, 200))
@settings(deadline=None, max_examples=40)
def test_a_moment_before_the_build_sees_nothing_later(
    rows: list[tuple[int, int, float]], day: int
) -> None:
    at = NOW + day * DAY_MS
    past = [r for r in rows if NOW + r[1] * DAY_MS <= at]
    if not any(w for _, _, w in past):
        return
    whole, seen = sequence(rows), sequence(past)
    found = build(whole).of(1, "u", seen, at).interests
    alone = build(seen).of(1, "u", seen, at).interests
    assert found.medoid_item_idx.tolist() == alone.medoid_item_idx.tolist()
    np.testing.assert_allclose(found.share, alone.share, rtol=1e-9)


def test_every_twentieth_action_the_whole_is_clustered_afresh() -> None:
    assert [clustered_afresh(n) for n in (0, 1, 19, 20, 21, 40)] == [0, 0, 0, 20, 20, 40]


def test_a_table_gives_back_what_was_put_in_also_without_the_weights_of_members() -> None:
    base, ids = join(no_interests(), [], [(0, 1, 1.0), (1, 2, 1.0), (25, 3, 0.5)])
    rows = InterestRows()
    rows.add(7, ids, base)
    table = InterestTable(rows.frame())
    found = table.of(7)
    assert found is not None
    assert found[0] == ids
    assert found[1].member_importance.tolist() == base.member_importance.tolist()
    assert table.of(6) is None
    older = InterestTable(rows.frame().drop("member_importance")).of(7)
    assert older is not None
    assert older[1].weights(0).sum() == pytest.approx(base.importance[0])
