"""Forgetting leaves no byte behind, and nothing of anybody else goes with it."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from wayline.storage import RequestTrace, Store, StoredNotification, open_store


def _files(path: Path) -> bytes:
    return b"".join(p.read_bytes() for p in path.parent.iterdir())


def _secret(text: str) -> str:
    return "person-" + hashlib.sha256(text.encode()).hexdigest()[:24]


def test_forgetting_leaves_no_byte_of_the_person(store: Store, path: Path, frame: Any) -> None:
    who, query = _secret("a"), "how to leave a cult"
    rows = [
        {"user_id": user, "item_id": f"i{i}", "ts_ms": i, "action": "search", "query": words,
         "action_id": f"{user}-{i}"}
        for user, words in ((who, query), ("other", "lamp"))
        for i in range(300)
    ]  # fmt: skip
    store.append_actions(frame(rows))
    key = store.user_key(who)
    assert key is not None
    empty = np.empty(0, np.float32)
    store.append_traces(
        [
            RequestTrace(
                "r1", key, 1, np.empty(0, np.int64), empty, empty, trace={"note": "secret-note"}
            )
        ]
    )
    store.queue_notifications(
        [
            StoredNotification(
                "secret-id-01", key, "j", "secret journey", 1, "file", {"user_id": who}
            )
        ]
    )
    assert who.encode() in _files(path)

    removed = store.forget_user(who)

    assert removed == {
        "users": 1,
        "actions": 300,
        "action_details": 300,
        "requests": 1,
        "impressions": 0,
        "engagements": 0,
        "notifications": 1,
    }
    left = _files(path)
    assert who.encode() not in left
    assert query.encode() not in left
    assert b"secret-note" not in left
    assert b"secret-id" not in left
    assert b"secret journey" not in left
    assert store.user_key(who) is None
    assert store.user_ids(np.array([key])) == [""]
    assert len(store.user_actions(key)) == 0
    assert sum(len(rows) for rows in store.scan_actions()) == 300
    assert len(store.action_records("other", limit=None)) == 300


def test_a_forgotten_key_and_position_are_never_given_again(store: Store, frame: Any) -> None:
    store.append_actions(frame([("a", "i", 1, "view"), ("z", "i", 2, "view")]))
    store.forget_user("z")
    assert store.position() == 2
    assert store.newest_ts_ms() == 1
    appended = store.append_actions(frame([("z", "i", 2, "view")]))
    assert (appended.accepted, appended.first_position) == (1, 3)
    assert store.user_key("z") == 3
    assert (store.count_users(), store.count_actions()) == (2, 2)


def test_forgetting_everybody_leaves_an_empty_sound_store(store: Store, frame: Any) -> None:
    store.append_actions(frame([(f"u{i % 3}", "i", i, "view") for i in range(30)]))
    for user in ("u0", "u1", "u2", "u0"):
        store.forget_user(user)
    assert list(store.scan_actions()) == []
    assert (store.count_actions(), store.newest_ts_ms(), store.position()) == (0, None, 30)
    store.append_actions(frame([("u", "i", 1, "view")]))
    assert [rows.position.tolist() for rows in store.scan_actions()] == [[31]]


def test_forgetting_the_unknown_removes_nothing(store: Store) -> None:
    assert set(store.forget_user("nobody").values()) == {0}


def test_a_writer_learns_that_another_opener_forgot_somebody(
    store: Store, path: Path, frame: Any
) -> None:
    store.append_actions(frame([("a", "i", 1, "view"), ("b", "i", 1, "view")]))
    with open_store(path) as other:
        other.append_actions(frame([("a", "i", 2, "view")]))
        store.forget_user("a")
        other.append_actions(frame([("a", "i", 3, "view")]))
        assert other.user_keys(["a", "b"]).tolist() == [3, 2]
        assert [r.ts for r in other.action_records("a")] == [3]


def test_stray_copies_of_split_pages_are_found_and_erased(tmp_path: Path, frame: Any) -> None:
    """Ids of many lengths split the index's pages unevenly; a few leave a copy in a gap."""
    path = tmp_path / "w.db"
    rng = random.Random(1)
    people = [f"person-{_secret(str(i))[7 : 7 + rng.randint(4, 24)]}.{i}." for i in range(30_000)]
    with open_store(path, create=True) as store:
        for start in range(0, len(people), 500):
            store.append_actions(frame([(p, "i", 1, "view") for p in people[start : start + 500]]))
    copies = Counter(re.findall(rb"person-[0-9a-f]+\.[0-9]+\.", path.read_bytes()))
    strays = [who for who, copy in copies.items() if copy > 2]  # one in the table, one in the index
    assert strays, "the trial should show the trap that the search is for"
    with open_store(path) as store:
        for who in strays[:3]:
            store.forget_user(who.decode())
            assert who not in _files(path)
        assert store.check() == []
