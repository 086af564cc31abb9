"""API keys are kept as digests, and every process learns of a change by one number."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wayline.errors import WorkspaceError
from wayline.storage import Store, StoredApiKey, open_store
from wayline.storage.sqlite import schema
from wayline.storage.sqlite.schema import FORMAT_VERSION, MIGRATIONS


def key(key_id: str, **fields: Any) -> StoredApiKey:
    digest = hashlib.sha256(key_id.encode()).digest()
    return replace(StoredApiKey(key_id, "Läden", "write", digest, 100), **fields)


def test_keys_read_back_as_they_were_in_the_order_of_their_making(store: Store, path: Path) -> None:
    rows = [key("b"), key("a", scope="admin", created_ts_ms=50)]
    assert [store.add_api_key(row) for row in rows] == [True, True]
    with open_store(path, read_only=True) as other:
        assert other.api_keys() == rows
    assert rows[0].digest.hex() not in repr(rows[0])


def test_an_id_is_given_once(store: Store) -> None:
    store.add_api_key(key("a"))
    before = store.api_keys_version()
    assert not store.add_api_key(key("a", name="Other", digest=b"x" * 32))
    assert (store.api_keys(), store.api_keys_version()) == ([key("a")], before)


def test_a_key_is_revoked_once_and_stays_listed(store: Store) -> None:
    store.add_api_key(key("a"))
    assert store.revoke_api_key("a", 200)
    assert not store.revoke_api_key("a", 300)
    assert not store.revoke_api_key("nothing", 300)
    assert store.api_keys() == [key("a", revoked_ts_ms=200)]
    assert not store.add_api_key(key("a"))


def test_a_use_is_noted_unless_a_newer_one_is(store: Store) -> None:
    store.add_api_key(key("a"))
    assert store.mark_api_key_used("a", 1000, unless_since_ts_ms=400)
    assert not store.mark_api_key_used("a", 1500, unless_since_ts_ms=900)
    assert store.mark_api_key_used("a", 1600, unless_since_ts_ms=1000)
    assert not store.mark_api_key_used("nothing", 1600, unless_since_ts_ms=1000)
    assert store.api_keys() == [key("a", last_used_ts_ms=1600)]


def test_the_version_grows_with_each_key_added_or_revoked_and_not_with_uses(
    store: Store, path: Path
) -> None:
    with open_store(path, read_only=True) as other:
        seen = [other.api_keys_version()]
        for change in (
            lambda: store.add_api_key(key("a")),
            lambda: store.add_api_key(key("b")),
            lambda: store.revoke_api_key("a", 1),
        ):
            change()
            seen.append(other.api_keys_version())
        assert seen == sorted(set(seen))
        store.mark_api_key_used("b", 5, unless_since_ts_ms=0)
        store.revoke_api_key("a", 2)
        assert other.api_keys_version() == seen[-1]


@pytest.mark.parametrize("broken", [{"scope": "root"}, {"digest": b"short"}])
def test_a_key_that_could_let_nobody_in_is_not_kept(path: Path, broken: dict[str, Any]) -> None:
    with open_store(path, create=True) as store:
        with pytest.raises(WorkspaceError, match="CHECK"):
            store.add_api_key(key("a", **broken))
        assert store.api_keys() == []


def test_a_backup_has_the_keys(store: Store, tmp_path: Path) -> None:
    store.add_api_key(key("a"))
    store.revoke_api_key("a", 200)
    store.backup(tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db") as copy:
        assert copy.api_keys() == [key("a", revoked_ts_ms=200)]
        assert copy.api_keys_version() == store.api_keys_version()


def test_a_file_of_version_5_gains_the_table(
    path: Path, monkeypatch: pytest.MonkeyPatch, frame: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", MIGRATIONS[:5])
        path.parent.mkdir()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN")
        for step in schema.MIGRATIONS:
            step(connection)
        connection.execute("PRAGMA user_version = 5")
        connection.execute("INSERT INTO items VALUES (1, 'kept')")
        connection.execute("COMMIT")
        connection.close()
    with pytest.raises(WorkspaceError, match="format 5"):
        open_store(path, read_only=True)
    with open_store(path) as store:
        assert (store.api_keys(), store.api_keys_version()) == ([], 0)
        assert store.add_api_key(key("a"))
        assert store.append_actions(frame([("u", "kept", 1, "view")])).accepted == 1
        assert store.item_key("kept") == 1
        assert store.check() == []
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
    connection.close()
