"""The outbox keeps what people are to be told until it is known what became of it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wayline.errors import WorkspaceError
from wayline.schema import NotificationFeedback
from wayline.storage import Store, StoredNotification, open_store
from wayline.storage.sqlite.schema import FORMAT_VERSION


def note(id_: str, user_key: int = 1, created: int = 100, **fields: Any) -> StoredNotification:
    row = StoredNotification(
        id_,
        user_key,
        "j1",
        "Lamps",
        created,
        "file",
        {"id": id_, "title": "Lämps 💡"},
        {"score": 0.5},
    )
    return replace(row, **fields)


@pytest.fixture(autouse=True)
def people(store: Store, frame: Any) -> None:
    store.append_actions(frame([("a", "i", 1, "view"), ("b", "i", 1, "view")]))


def test_a_queued_notification_reads_back_as_it_was(store: Store, path: Path) -> None:
    rows = [note("n1"), note("n2", created=200, next_ts_ms=50)]
    assert store.queue_notifications(rows) == 2
    with open_store(path, read_only=True) as other:
        assert other.user_notifications(1) == rows[::-1]
        assert other.user_notifications(1, until_ts_ms=199) == rows[:1]
        assert other.user_notifications(2) == other.user_notifications(99) == []
        assert other.count_notifications() == {"queued": 2, "sending": 0, "sent": 0, "failed": 0}
    assert store.queue_notifications([]) == 0


def test_an_id_that_is_known_stays_as_it_is(store: Store) -> None:
    store.queue_notifications([note("n1")])
    store.mark_notification("n1", status="sent", attempts=1, sent_ts_ms=150)
    assert store.queue_notifications([note("n1", journey="Other"), note("n2")]) == 1
    assert [(r.notification_id, r.journey, r.status) for r in store.user_notifications(1)] == [
        ("n2", "Lamps", "queued"),
        ("n1", "Lamps", "sent"),
    ]


def test_waiting_ones_come_by_the_time_that_they_may_be_tried(store: Store) -> None:
    store.queue_notifications([note("n1", next_ts_ms=300), note("n2", next_ts_ms=200), note("n3")])
    store.mark_notification("n3", status="sending", attempts=1, next_ts_ms=250)

    def due(moment: int, limit: int = 100) -> list[str]:
        rows = store.waiting_notifications(due_ts_ms=moment, limit=limit)
        return [row.notification_id for row in rows]

    assert due(199) == []
    assert due(250) == ["n2", "n3"]
    assert due(900) == ["n2", "n3", "n1"]
    assert due(900, limit=1) == ["n2"]
    assert store.next_notification_ts_ms() == 200
    for id_ in ("n1", "n2", "n3"):
        store.mark_notification(id_, status="failed", attempts=1, error="gone")
    assert due(900) == []
    assert store.next_notification_ts_ms() is None


def test_what_was_sent_is_never_waiting_again(store: Store) -> None:
    store.queue_notifications([note("n1")])
    assert store.mark_notification("n1", status="sent", attempts=1, sent_ts_ms=150)
    assert not store.mark_notification("n1", status="queued", attempts=2)
    assert not store.mark_notification("unknown", status="sent", attempts=1, sent_ts_ms=1)
    (row,) = store.user_notifications(1)
    assert (row.status, row.attempts, row.sent_ts_ms) == ("sent", 1, 150)


def test_nothing_is_kept_of_a_person_who_was_forgotten(store: Store) -> None:
    store.queue_notifications([note("n1"), note("n2", user_key=2)])
    assert store.forget_user("a")["notifications"] == 1
    assert store.user_notifications(1) == []
    assert store.queue_notifications([note("n3"), note("n4", user_key=77)]) == 0
    assert not store.mark_notification("n1", status="sent", attempts=1, sent_ts_ms=150)
    assert len(store.user_notifications(2)) == 1


def test_feedback_counts_what_the_person_did_with_their_own_notification(
    store: Store, frame: Any
) -> None:
    store.queue_notifications([note("n1"), note("n2", user_key=2), note("n3"), note("n4")])
    for id_, sent in (("n1", 150), ("n2", 160), ("n3", 170)):
        store.mark_notification(id_, status="sent", attempts=1, sent_ts_ms=sent)

    def act(user: str, ts: int, action: str, id_: str) -> dict[str, Any]:
        return {"user_id": user, "item_id": "i", "ts_ms": ts, "action": action, "request_id": id_}

    store.append_actions(
        frame(
            [
                act("a", 200, "notification.open", "n1"),
                act("a", 210, "notification.click", "n1"),
                act("a", 220, "notification.click", "n2"),  # somebody else's
                act("c", 230, "notification.open", "n2"),  # a stranger with the id
                act("b", 240, "notification.dismiss", "n2"),
                act("a", 250, "buy", "n3"),
                act("a", 260, "notification.open", "n4"),  # not sent
                act("a", 270, "notification.open", "nothing"),
            ]
        )
    )
    features = {"score": 0.5}
    assert store.notification_feedback() == [
        NotificationFeedback("n1", 1, "j1", 150, features, True, True, False, "Lamps"),
        NotificationFeedback("n2", 2, "j1", 160, features, False, False, True, "Lamps"),
        NotificationFeedback("n3", 1, "j1", 170, features, False, False, False, "Lamps"),
    ]
    before = store.notification_feedback(until_ts_ms=205)
    assert [(f.id, f.opened, f.clicked, f.dismissed) for f in before] == [
        ("n1", True, False, False),
        ("n2", False, False, False),
        ("n3", False, False, False),
    ]
    assert [f.id for f in store.notification_feedback(until_ts_ms=155)] == ["n1"]


def test_feedback_is_found_in_long_packed_histories(store: Store, frame: Any) -> None:
    store.queue_notifications([note("n1")])
    store.mark_notification("n1", status="sent", attempts=1, sent_ts_ms=150)
    opened = {"user_id": "a", "item_id": "i", "ts_ms": 160, "action": "notification.open",
              "request_id": "n1"}  # fmt: skip
    store.append_actions(frame([opened]))
    store.append_actions(frame([("a", f"i{n % 50}", 1000 + n, "view") for n in range(3000)]))
    assert store.pack_history(1) > 0
    assert store.notification_feedback()[0].opened


def test_a_backup_has_the_outbox(store: Store, tmp_path: Path) -> None:
    store.queue_notifications([note("n1")])
    store.backup(tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db") as copy:
        assert copy.user_notifications(1) == [note("n1")]
        assert copy.check() == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("user_key = 99", "notifications of unknown or forgotten people"),
        ("status = 'lost'", "notifications in no known state"),
        ("status = 'sent'", "notifications that are sent without a time"),
        ("payload = '{'", "notifications that cannot be read"),
    ],
)
def test_check_finds_what_is_wrong_with_the_outbox(
    path: Path, frame: Any, tmp_path: Path, broken: str, said: str
) -> None:
    other = tmp_path / "other.db"
    with open_store(other, create=True) as store:
        store.append_actions(frame([("a", "i", 1, "view")]))
        store.queue_notifications([note("n1")])
    connection = sqlite3.connect(other, isolation_level=None)
    connection.execute(f"UPDATE notifications SET {broken}")
    connection.close()
    with open_store(other) as store:
        (problem,) = store.check()
    assert problem.startswith("1 " + said)


def test_a_file_without_an_outbox_gets_one(tmp_path: Path, frame: Any) -> None:
    old = tmp_path / "old.db"
    with open_store(old, create=True) as store:
        store.append_actions(frame([("a", "i", 1, "view")]))
    connection = sqlite3.connect(old, isolation_level=None)
    connection.execute("DROP TABLE notifications")
    connection.execute("DROP TABLE api_keys")
    connection.execute("DROP TABLE recipe_versions")
    connection.execute("DROP INDEX action_details_words")
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    with pytest.raises(WorkspaceError, match="format 4"):
        open_store(old, read_only=True)
    with open_store(old) as store:
        assert store.queue_notifications([note("n1")]) == 1
        assert store.check() == []
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
    connection.close()
