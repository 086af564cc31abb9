"""An action that names a request answers what that request showed, whichever of the two came first."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.errors import WorkspaceError
from wayline.schema import ActionColumns, Feedback
from wayline.storage import RequestTrace, Store, open_store
from wayline.storage.sqlite import log
from wayline.storage.sqlite.schema import APPLICATION_ID, FORMAT_VERSION, VERSION_1
from wayline.storage.sqlite.store import SqliteStore
from wayline.storage.sqlite.traces import IMPRESSION

PEOPLE, ITEMS = ("a", "b", "c"), tuple(f"i{n}" for n in range(6))
VIEW, BUY = 1, 2


def trace(
    request_id: str,
    user_key: int,
    ts_ms: int,
    items: list[int],
    queries: tuple[int, ...] = (),
    via: tuple[int, ...] = (),
    surface: str | None = None,
) -> RequestTrace:
    return RequestTrace(
        request_id=request_id,
        user_key=user_key,
        ts_ms=ts_ms,
        item_keys=np.array(items, np.int64),
        scores=np.zeros(len(items), np.float32),
        propensities=np.ones(len(items), np.float32),
        surface=surface,
        queries=np.array(queries, np.int64),
        via=np.array(via, np.uint32),
    )


def act(user: str, item: str, ts_ms: int, action: str, request_id: str | None) -> dict[str, Any]:
    return {
        "user_id": user,
        "item_id": item,
        "ts_ms": ts_ms,
        "action": action,
        "request_id": request_id,
    }


def acted(rows: list[dict[str, Any]]) -> pl.DataFrame:
    texts = dict.fromkeys(("user_id", "item_id", "action", "request_id"), pl.String)
    return pl.DataFrame(rows, schema={**texts, "ts_ms": pl.Int64})


def same(left: Feedback, right: Feedback) -> bool:
    return all(
        np.array_equal(getattr(left, f.name), getattr(right, f.name)) for f in fields(Feedback)
    )


@pytest.fixture
def known(store: Store, frame: Any) -> Store:
    """People a, b, c are 1, 2, 3; items i0 … i5 are 1 … 6; view is 1, buy is 2."""
    rows = [act(user, item, 0, "view", None) for user in PEOPLE for item in ITEMS]
    store.append_actions(frame([*rows, act("a", "i0", 1, "buy", None)]))
    return store


def test_an_action_answers_the_impression_it_names(known: Store, frame: Any) -> None:
    known.append_traces([trace("r", 1, 100, [3, 5], queries=(2, 6), via=(0b11, 0))])
    known.append_actions(frame([act("a", "i4", 120, "buy", "r"), act("a", "i2", 110, "view", "r")]))
    feedback = known.user_feedback(1)
    assert feedback.item_key.tolist() == [3, 5]
    assert feedback.ts_ms.tolist() == [100, 100]
    assert feedback.place.tolist() == [0, 1]
    assert feedback.via_offsets.tolist() == [0, 2, 2]
    assert feedback.via_item_key.tolist() == [2, 6]
    assert feedback.impression_idx.tolist() == [0, 1]
    assert feedback.action_key.tolist() == [VIEW, BUY]
    assert feedback.acted_ts_ms.tolist() == [110, 120]
    totals = known.totals()  # only what a query fetched
    assert totals.impressions.tolist() == [1]
    assert totals.engagements.tolist() == [0, 1]


def test_an_action_before_its_request_is_found_when_that_turns_up(
    known: Store, path: Path, frame: Any
) -> None:
    with open_store(path) as other:
        other.append_actions(frame([act("a", "i2", 110, "view", "r")]))
    assert len(known.user_feedback(1)) == 0
    known.append_traces([trace("r", 1, 100, [3], queries=(2,), via=(1,))])
    feedback = known.user_feedback(1)
    assert feedback.acted_ts_ms.tolist() == [110]
    assert known.totals().engagements.tolist() == [0, 1]


def test_a_repeated_action_counts_once_and_from_its_earliest_time(known: Store, frame: Any) -> None:
    known.append_traces([trace("r", 1, 100, [3], queries=(2,), via=(1,))])
    for ts_ms in (150, 120, 130, 120):
        known.append_actions(frame([act("a", "i2", ts_ms, "view", "r")]))
    assert known.user_feedback(1).acted_ts_ms.tolist() == [120]
    assert known.totals().engagements.tolist() == [0, 1]
    before = known.user_feedback(1)
    known.append_traces([trace("r", 1, 100, [3], queries=(2,), via=(1,))])  # replayed
    assert same(known.user_feedback(1), before)
    assert known.totals().impressions.tolist() == [1]


def test_what_was_not_shown_or_not_to_them_is_not_answered(known: Store, frame: Any) -> None:
    known.append_traces(
        [
            trace("r", 1, 100, [3], queries=(2,), via=(1,)),
            trace("nobody", 0, 100, [3], queries=(2,), via=(1,)),
        ]
    )
    odd = "no\0such"
    known.append_actions(
        frame(
            [
                act("a", "i3", 110, "view", "r"),  # not shown
                act("b", "i2", 110, "view", "r"),  # somebody else's
                act("a", "i2", 111, "view", "unknown"),
                act("a", "i2", 112, "view", odd),
                act("a", "i2", 113, "view", "nobody"),
                act("a", "brand new", 114, "view", "r"),
            ]
        )
    )
    assert known.user_feedback(1).impression_idx.tolist() == []
    assert known.totals().engagements.tolist() == []
    assert known.count_actions() == 25  # all of them are kept


def test_later_requests_and_actions_are_not_seen_as_of_a_moment(known: Store, frame: Any) -> None:
    known.append_traces(
        [trace(f"r{ts}", 1, ts, [3], queries=(2,), via=(1,)) for ts in (300, 100, 200)]
    )
    known.append_actions(frame([act("a", "i2", 250, "view", "r100")]))
    known.append_actions(frame([act("a", "i2", 150, "buy", "r100")]))
    assert known.user_feedback(1).ts_ms.tolist() == [100, 200, 300]
    then = known.user_feedback(1, until_ts_ms=200)
    assert then.ts_ms.tolist() == [100, 200]
    assert then.action_key.tolist() == [BUY]
    newest = known.user_feedback(1, requests=2)
    assert (newest.ts_ms.tolist(), newest.action_key.tolist()) == ([200, 300], [])
    assert len(known.user_feedback(1, until_ts_ms=99)) == 0
    assert len(known.user_feedback(9)) == 0
    assert known.user_feedback(9).via_offsets.tolist() == [0]


def test_an_item_shown_twice_is_answered_at_its_first_place(known: Store, frame: Any) -> None:
    known.append_traces([trace("r", 1, 100, [4, 3, 3], queries=(2,), via=(1, 1, 0))])
    known.append_actions(frame([act("a", "i2", 110, "view", "r")]))
    assert known.user_feedback(1).impression_idx.tolist() == [1]
    assert known.totals().engagements.tolist() == [0, 1]


def test_the_impression_sequence_is_what_nobody_answered(known: Store, frame: Any) -> None:
    known.append_traces(
        [
            trace("old", 1, 100, [1, 2, 3], surface="home"),
            trace("new", 1, 200, [3, 4], surface="side"),
            trace("theirs", 2, 300, [5]),
        ]
    )
    known.append_actions(frame([act("a", "i1", 250, "view", "old")]))
    shown = known.user_impressions(1)
    assert shown.item_key.tolist() == [3, 4, 1]
    assert shown.ts_ms.tolist() == [200, 200, 100]
    assert shown.surface_key.tolist() == [2, 2, 1]
    assert shown.request_number.tolist() == [2, 2, 1]
    assert known.user_impressions(1, limit=2).item_key.tolist() == [3, 4]
    assert known.user_impressions(1, until_ts_ms=199).item_key.tolist() == [1, 2, 3]
    assert known.user_impressions(1, limit=0).item_key.tolist() == []
    assert len(known.user_impressions(7)) == 0


def test_a_request_reads_back_with_its_queries_and_signals(known: Store) -> None:
    plain = trace("r", 1, 100, [3, 5], queries=(2, 6), via=(0b10, 0b11))
    known.append_traces(
        [
            RequestTrace(
                "f", 1, 100, plain.item_keys, plain.scores, plain.propensities,
                features=np.array([[1, 0.5, 2], [0, 3, 4]], np.float16),
            ),
            plain,
        ]
    )  # fmt: skip
    found = known.request("r")
    assert found is not None
    assert found["queries"] == [2, 6]
    assert found["via"] == [[6], [2, 6]]
    assert found["features"].shape == (2, 0)
    other = known.request("f")
    assert other is not None
    assert other["features"].tolist() == [[1, 0.5, 2], [0, 3, 4]]
    assert (other["queries"], other["via"]) == ([], [])


def test_a_trace_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(AssertionError, match="unknown query"):
        trace("r", 1, 1, [3], queries=(2,), via=(2,))
    with pytest.raises(AssertionError, match="unequal"):
        trace("r", 1, 1, [3, 4], queries=(2,), via=(1,))
    with pytest.raises(AssertionError, match="33 queries"):
        trace("r", 1, 1, [], queries=tuple(range(33)))
    assert int(trace("r", 1, 1, [3], tuple(range(32)), (0xFFFFFFFF,)).via[0]) == 2**32 - 1


def test_forgetting_takes_what_was_learned_of_a_person(known: Store, frame: Any) -> None:
    for user_key, user in enumerate(PEOPLE, start=1):
        known.append_traces([trace(user, user_key, 100, [3, 4], queries=(2,), via=(1, 1))])
        known.append_actions(
            frame([act(user, "i2", 110, "view", user), act(user, "i2", 120, "buy", user)])
        )
    receipt = known.forget_user("b")
    assert (receipt["engagements"], receipt["impressions"], receipt["requests"]) == (2, 2, 1)
    assert len(known.user_feedback(2)) == 0
    assert known.totals().impressions.tolist() == [2, 2]
    assert known.totals().engagements.tolist() == [0, 2, 2]
    assert known.rebuild_engagements() == 4
    assert known.check() == []
    known.append_traces([trace("late", 2, 130, [3], queries=(2,), via=(1,))])
    assert known.request("late") is None
    assert known.totals().impressions.tolist() == [2, 2]


def test_doctor_finds_engagements_that_nothing_bears_out(path: Path, frame: Any) -> None:
    store = open_store(path, create=True)
    store.append_actions(frame([act("a", "i", 1, "view", None)]))
    store.append_traces([trace("r", 1, 100, [1], queries=(1,), via=(1,))])
    store.append_actions(frame([act("a", "i", 110, "view", "r")]))
    assert store.check() == []
    assert isinstance(store, SqliteStore)
    for expected, harm, cure in (
        ("other ones", "UPDATE engagements SET acted_ts_ms = 111", True),
        ("other ones", "DELETE FROM engagements", True),
        ("point nowhere", "INSERT INTO engagements VALUES (1, 77, 1, 1, 5)", True),
        ("engagement_totals", "UPDATE engagement_totals SET number = 9", True),
        ("shown_totals", "DELETE FROM shown_totals", True),
        ("of no request", "INSERT INTO shown VALUES (1, 5, 'x', 44, 0, x'', x'', x'')", False),
        ("not kept by person", "DELETE FROM shown WHERE request_id = 'r'", False),
    ):
        with store._connections.alone() as connection:
            connection.execute(harm)
        assert any(expected in line for line in store.check()), (expected, store.check())
        if cure:
            assert store.rebuild_engagements() == 1
            assert store.check() == []
    store.close()


def shifted(feedback: Feedback, requests: int, impressions: int, by: int) -> list[tuple[int, ...]]:
    """What a part of a scan says of one person, as rows that do not depend on where they stand in it."""
    out = []
    for n in range(impressions, impressions + by):
        lo, hi = feedback.via_offsets[n : n + 2]
        acts = feedback.impression_idx == n
        out.append(
            (
                int(feedback.ts_ms[n]), int(feedback.request_idx[n]) - requests, int(feedback.item_key[n]),
                int(feedback.place[n]), *feedback.via_item_key[lo:hi].tolist(), -1,
                *feedback.action_key[acts].tolist(), -1, *feedback.acted_ts_ms[acts].tolist(),
            )
        )  # fmt: skip
    return out


@pytest.mark.parametrize("requests", [1, 2, 3, 5, 100])
def test_a_scan_of_feedback_says_what_asking_everybody_says(
    known: Store, frame: Any, requests: int
) -> None:
    for n in range(12):
        user_key = 1 + n % 2 * 2 if n < 9 else 2
        shown = [1 + n % 6, 1 + (n + 2) % 6]
        known.append_traces(
            [trace(f"r{n}", user_key, 100 + n % 5, shown, queries=(5, 6), via=(n % 4, 1))]
        )
        known.append_actions(
            frame([act(PEOPLE[user_key - 1], f"i{n % 6}", 101 + n, "view", f"r{n}")])
        )
    found: dict[int, list[tuple[int, ...]]] = {}
    for user_key, part in known.scan_feedback(since_ts_ms=101, until_ts_ms=110, requests=requests):
        assert len(user_key)
        sizes = np.bincount(part.request_idx, minlength=len(user_key))
        for key in np.unique(user_key).tolist():
            assert key not in found, "a person is in one part"
            rows = np.flatnonzero(user_key == key)
            before = int(sizes[: rows[0]].sum())
            found[key] = shifted(part, int(rows[0]), before, int(sizes[rows].sum()))
    assert list(found) == [1, 2, 3]
    for key, rows in found.items():
        alone = known.user_feedback(key, until_ts_ms=110)
        late = [row for row in shifted(alone, 0, 0, len(alone)) if row[0] >= 101]
        skipped = late[0][1]
        assert rows == [(ts, request - skipped, *rest) for ts, request, *rest in late]


def test_a_scan_of_feedback_of_nobody_is_empty(known: Store) -> None:
    assert list(known.scan_feedback(since_ts_ms=0)) == []
    known.append_traces([trace("r", 1, 100, [3])])
    assert list(known.scan_feedback(since_ts_ms=101)) == []
    known.forget_user("a")
    assert list(known.scan_feedback(since_ts_ms=0)) == []


# -- in any order ------------------------------------------------------------------------------------

REQUESTS = tuple(f"r{n}" for n in range(4))


def some_events(seed: int, number: int) -> list[Any]:
    """Batches of actions (lists), requests (tuples) and forgettings (texts), few enough kinds of
    each that they meet. Drawn from a seed: hypothesis itself rarely lets two of them agree.
    """
    rng = random.Random(seed)
    events: list[Any] = []
    for _ in range(number):
        kind = rng.random()
        if kind < 0.5:
            batch = [
                (
                    rng.choice("aaab"), rng.choice(ITEMS[:3]), rng.randint(98, 104),
                    rng.choice(("view", "buy")), rng.choice((*REQUESTS, *REQUESTS, "other", None)),
                )
                for _ in range(rng.randint(1, 6))
            ]  # fmt: skip
            events.append(batch)
        elif kind < 0.95:
            shown = [(rng.randint(1, 4), rng.randint(0, 3)) for _ in range(rng.randint(0, 4))]
            person = rng.choice((1, 1, 1, 2, 0))  # 0: a stranger
            events.append((rng.choice(REQUESTS), person, rng.randint(99, 101), shown))
        else:
            events.append(rng.choice("abc"))
    return events


class Twin:
    """The same store as dicts and loops."""

    def __init__(self) -> None:
        self.actions: dict[tuple[int, str, int, str], str | None] = {}
        self.requests: dict[str, tuple[int, int, list[tuple[int, int]]]] = {}

    def engagements(self) -> dict[tuple[int, str, int, str], int]:
        out: dict[tuple[int, str, int, str], int] = {}
        for (user, item, ts_ms, action), request_id in self.actions.items():
            if request_id in self.requests:
                shown_to, _, shown = self.requests[request_id]
                item_key = ITEMS.index(item) + 1
                if shown_to == user and item_key in [i for i, _ in shown]:
                    key = (user, request_id, item_key, action)
                    out[key] = min(out.get(key, ts_ms), ts_ms)
        return out

    def totals(self) -> tuple[list[int], list[int]]:
        """Of what a query fetched: impressions by place, and [views, buys]."""
        places, kinds = [0] * 4, [0, 0]
        for user, _, shown in self.requests.values():
            for place, (_, via) in enumerate(shown):
                places[place] += user > 0 and via > 0
        for user, request_id, item_key, action in self.engagements():
            shown = self.requests[request_id][2]
            fetched = next(via for item, via in shown if item == item_key) > 0
            kinds[("view", "buy").index(action)] += user > 0 and fetched
        return places, kinds


def kept(store: Store) -> dict[tuple[int, str, int, str], int]:
    assert isinstance(store, SqliteStore)
    with store._connections.reading() as connection:
        rows = connection.execute(
            "SELECT e.user_key, r.request_id, e.item_key, n.name, e.acted_ts_ms "
            "FROM engagements e JOIN requests r USING (request_number) "
            "JOIN action_names n USING (action_key)"
        )
        return {tuple(row[:4]): row[4] for row in rows}


def unsynced(store: Store) -> SqliteStore:
    """Without fsyncs: thousands of small commits."""
    assert isinstance(store, SqliteStore)
    with store._connections.alone() as connection:
        connection.execute("PRAGMA synchronous = OFF").fetchall()
    return store


@pytest.fixture(scope="module")
def emptied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """One store that every example empties: making a file costs more than the rest."""
    with open_store(tmp_path_factory.mktemp("any-order"), create=True) as store:
        yield unsynced(store)


def empty(store: SqliteStore) -> None:
    with store._connections.writing() as connection:
        for table in (
            "users", "items", "action_names", "surfaces", "actions", "action_details", "log",
            "requests", "shown", "engagements", "shown_totals", "engagement_totals",
        ):  # fmt: skip
            connection.execute(f"DELETE FROM {table}")
    store._keys.clear()


@given(seed=st.integers(0, 2**32), number=st.integers(0, 24))
@settings(max_examples=150)
def test_any_order_of_arrival_gives_the_engagements_of_the_log(
    emptied: SqliteStore, seed: int, number: int
) -> None:
    events = some_events(seed, number)
    store, twin = emptied, Twin()
    empty(store)
    store.append_actions(acted([act(u, i, 0, "view", None) for u in PEOPLE for i in ITEMS]))
    keys = dict(zip(PEOPLE, (1, 2, 3), strict=True))
    for event in events:
        if isinstance(event, str):
            store.forget_user(event)
            gone = keys[event] or -1
            twin.actions = {k: r for k, r in twin.actions.items() if k[0] != gone}
            twin.requests = {r: v for r, v in twin.requests.items() if v[0] != gone}
            keys[event] = 0
        elif isinstance(event, list):
            rows = [act(*row) for row in event]
            store.append_actions(acted(rows))
            for user, item, ts_ms, action, request_id in event:
                keys[user] = keys[user] or store.user_key(user) or 0
                twin.actions.setdefault((keys[user], item, ts_ms, action), request_id)
        else:
            request_id, user_key, ts_ms, shown = event
            store.append_traces(
                [
                    trace(
                        request_id, user_key, ts_ms, [i for i, _ in shown], (2, 5),
                        tuple(v for _, v in shown),
                    )
                ]
            )  # fmt: skip
            if user_key == 0 or user_key in keys.values():
                twin.requests.setdefault(request_id, (user_key, ts_ms, shown))
    expected = {k: ts for k, ts in twin.engagements().items() if k[0]}
    assert kept(store) == expected
    places, kinds = twin.totals()
    totals = store.totals()
    assert totals.impressions.tolist() == np.trim_zeros(places, "b")
    names = store.action_names()
    assert {names[k - 1]: n for k, n in enumerate(totals.engagements.tolist()) if n} == {
        name: n for name, n in zip(("view", "buy"), kinds, strict=True) if n
    }
    assert store.check() == []
    before = [store.totals(), *(store.user_feedback(k) for k in (1, 2, 3))]
    assert store.rebuild_engagements() == len(expected)
    assert kept(store) == expected
    after = [store.totals(), *(store.user_feedback(k) for k in (1, 2, 3))]
    for left, right in zip(before, after, strict=True):
        for f in fields(left):
            assert np.array_equal(getattr(left, f.name), getattr(right, f.name))


def test_shuffled_arrival_reads_the_same_to_the_last_bit(tmp_path: Path, frame: Any) -> None:
    rng = random.Random(4)
    first = frame([act(u, i, 0, a, None) for u in PEOPLE for i in ITEMS for a in ("view", "buy")])
    requests = [
        trace(
            f"r{n}", rng.randint(1, 3), 100 + n // 3, rng.sample(range(1, 7), 4), (2, 5),
            tuple(rng.randint(0, 3) for _ in range(4)),
        )
        for n in range(60)
    ]  # fmt: skip
    actions = [
        act(rng.choice(PEOPLE), rng.choice(ITEMS), 100 + n % 40, rng.choice(("view", "buy")), r)
        for n in range(300)
        for r in (f"r{rng.randrange(60)}",)
    ]
    # one action each moment: which of two that are equal but for their request stays depends on
    # the order, by the log's contract
    actions = list(
        {(a["user_id"], a["item_id"], a["ts_ms"], a["action"]): a for a in actions}.values()
    )
    found = []
    for order in range(3):
        events: list[Any] = [*requests, *actions]
        if order:
            rng.shuffle(events)
        with unsynced(open_store(tmp_path / str(order), create=True)) as store:
            store.append_actions(first)
            for event in events:
                if isinstance(event, RequestTrace):
                    store.append_traces([event])
                else:
                    store.append_actions(frame([event]))
            found.append([store.user_feedback(k) for k in (1, 2, 3)])
            assert sum(len(f.impression_idx) for f in found[-1]) > 20
    for other in found[1:]:
        assert all(same(x, y) for x, y in zip(found[0], other, strict=True))


# -- a file of format 1 ------------------------------------------------------------------------------


def _format_1(path: Path) -> None:
    """What wayline wrote before engagements were kept: made by the old statements."""
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(VERSION_1)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_a_file_of_format_1_opens_and_goes_on(path: Path, frame: Any) -> None:
    _format_1(path)
    with pytest.raises(WorkspaceError, match="format 1"):
        open_store(path, read_only=True)
    # The log of format 1 is that of today: written by today's code, in a transaction of its own.
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO users VALUES (1, 'a')")
    connection.executemany("INSERT INTO items VALUES (?, ?)", [(1, "i0"), (2, "i1")])
    connection.execute("INSERT INTO action_names VALUES (1, 'view')")
    connection.execute("INSERT INTO actions VALUES (1, 110, 2, 1, 0, 1, NULL)")
    connection.execute("INSERT INTO action_details VALUES (1, NULL, 'r', NULL, NULL, NULL)")
    one = np.ones(1, np.int64)
    rows = ActionColumns(one, one, 2 * one, one.astype(np.int16), 110 * one, np.array([np.nan]))
    log.write(connection, rows, path)
    shown = np.array([(2, 0.5, 1.0), (1, 0.25, 1.0)], IMPRESSION)
    connection.execute(
        "INSERT INTO requests VALUES (1, 'r', 'r', 1, 100, 0, NULL, '{}', '[]', 2, ?)",
        (shown.tobytes(),),
    )
    connection.close()

    with open_store(path) as store:
        assert store.check() == []
        feedback = store.user_feedback(1)
        assert feedback.item_key.tolist() == [2, 1]
        assert feedback.acted_ts_ms.tolist() == [110]
        assert feedback.via_item_key.tolist() == []
        assert store.user_impressions(1).item_key.tolist() == [1]
        request = store.request("r")
        assert request is not None
        assert request["via"] == []
        store.append_actions(frame([act("a", "i0", 120, "view", "r")]))
        assert len(store.user_feedback(1).impression_idx) == 2
        assert store.check() == []
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
    connection.close()
