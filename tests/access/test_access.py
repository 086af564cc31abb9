"""Keys: what they look like, who is let in by them, and how soon a change is seen elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wayline.access import Access, Scope
from wayline.access.keys import RECHECK_S
from wayline.clock import HOUR_MS
from wayline.errors import InputError, NotFoundError, WorkspaceLockedError
from wayline.storage import Store, open_store
from wayline.storage.sqlite.store import SqliteStore

START_MS = 1_700_000_000_000


class Time:
    """Clocks that stand until they are moved."""

    now_ms = START_MS
    now_s = 50.0

    def clock(self) -> int:
        return self.now_ms

    def monotonic_s(self) -> float:
        return self.now_s


Opened = Callable[[], tuple[Access, Store]]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def opened(tmp_path: Path, time: Time) -> Iterator[Opened]:
    """Open the same workspace again, as another process would; all are closed at the end."""
    made: list[tuple[Access, Store]] = []

    def open_again() -> tuple[Access, Store]:
        store = open_store(tmp_path, create=True)
        made.append((Access(store, clock=time.clock, monotonic_s=time.monotonic_s), store))
        return made[-1]

    yield open_again
    for access, store in made:
        access.close()
        store.close()


@pytest.fixture
def access(opened: Opened) -> Access:
    return opened()[0]


def test_a_key_is_let_in_as_what_it_was_made_for(access: Access) -> None:
    made = access.create_key(" shop-backend ", "write")
    assert re.fullmatch(rf"wl_{made.key.key_id}_[A-Za-z0-9_-]{{43}}", made.secret)
    grant = access.check(made.secret)
    assert grant is not None
    assert (grant.scope, grant.key_id, grant.name) == (
        Scope.WRITE,
        made.key.key_id,
        "shop-backend",
    )
    assert access.create_key("shop-backend", Scope.WRITE).secret != made.secret


def test_a_secret_shows_in_no_repr_and_no_file(access: Access, tmp_path: Path) -> None:
    secrets = [access.create_key(f"k{n}", Scope.READ) for n in range(20)]
    for made in secrets:
        assert made.secret not in repr(made)
        assert access.check(made.secret)
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    for made in secrets:
        random = made.secret.split("_", 2)[2]
        assert made.key.key_id.encode() in written
        assert random.encode() not in written
        assert base64.urlsafe_b64decode(random + "=") not in written


def almost(secret: str) -> list[str]:
    """Texts near a key; the last character has bits that base64 does not need, and still is part of the key."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    next_one = alphabet[(alphabet.index(secret[-1]) + 1) % 64]
    return [
        "", "wl_", "wl__", secret[:-1], secret + "x", secret + "\n", " " + secret, secret.upper(), secret[3:],
        secret[:-1] + next_one, secret[:-1] + "é", secret[:-1] + "\ud800", secret.replace("wl_", "wl-"),
        secret[:12] + "A" * 43, secret * 100_000, "x" * 10_000_000, "\0" * 55,
    ]  # fmt: skip


def test_what_is_not_exactly_a_key_is_refused(access: Access) -> None:
    secret = access.create_key("k", Scope.ADMIN).secret
    assert [text[:80] for text in almost(secret) if access.check(text)] == []
    other = access.create_key("other", Scope.ADMIN).secret
    assert (
        access.check(secret[:12] + other[12:]) is None
    )  # the id of one with the secret of another
    assert access.check(secret)


def test_a_scope_may_what_the_ones_before_it_may() -> None:
    assert sorted(Scope, reverse=True) == [Scope.ADMIN, Scope.WRITE, Scope.READ]
    assert [Scope.named(str(scope)) for scope in Scope] == list(Scope)


@pytest.mark.parametrize("scope", ["", "Read", "root", "1"])
def test_a_scope_that_is_none_is_refused_in_one_line(access: Access, scope: str) -> None:
    with pytest.raises(InputError, match="expected read, write or admin") as caught:
        access.create_key("k", scope)
    assert caught.value.field == "scope"
    assert access.list_keys() == []


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 101, "\ud800", "bell\x07"])
def test_a_name_that_cannot_be_shown_is_refused(access: Access, name: str) -> None:
    with pytest.raises(InputError, match="printable characters") as caught:
        access.create_key(name, "read")
    assert "\n" not in caught.value.message
    assert access.list_keys() == []


def test_a_revoked_key_is_refused_at_once_and_stays_listed(access: Access, time: Time) -> None:
    one, other = access.create_key("one", "read"), access.create_key("other", "admin")
    assert access.any_live()
    time.now_ms += 5
    revoked = access.revoke_key(one.key.key_id)
    assert revoked.revoked_at == START_MS + 5
    assert access.check(one.secret) is None
    assert access.check(other.secret)
    time.now_ms += 5
    assert access.revoke_key(one.key.key_id).revoked_at == START_MS + 5
    assert [k.key_id for k in access.list_keys()] == [one.key.key_id, other.key.key_id]
    access.revoke_key(other.key.key_id)
    assert not access.any_live()


def test_a_key_that_is_not_there_cannot_be_revoked(access: Access) -> None:
    with pytest.raises(NotFoundError, match="wayline keys list"):
        access.revoke_key("0123abcd")


def test_a_whole_key_given_for_its_id_is_not_repeated(access: Access) -> None:
    made = access.create_key("k", "read")
    with pytest.raises(InputError) as caught:
        access.revoke_key(made.secret)
    assert made.secret[12:20] not in caught.value.message
    assert access.check(made.secret)


def test_another_process_sees_a_new_key_at_once_and_a_revoked_one_within_a_second(
    opened: Opened, time: Time
) -> None:
    (mine, _), (theirs, _) = opened(), opened()
    assert not theirs.any_live()
    made = mine.create_key("k", "read")
    assert theirs.check(made.secret)
    mine.revoke_key(made.key.key_id)
    assert mine.check(made.secret) is None
    time.now_s += RECHECK_S
    assert RECHECK_S <= 1
    assert theirs.check(made.secret) is None
    assert not theirs.any_live()


def test_the_store_is_asked_once_in_a_second_however_often_a_key_is_checked(
    opened: Opened, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, store = opened()
    secret = access.create_key("k", "read").secret
    asked: list[float] = []
    ask = store.api_keys_version
    monkeypatch.setattr(store, "api_keys_version", lambda: asked.append(time.now_s) or ask())
    for _ in range(100):
        for text in (secret, "opener", "wl_nonsense"):
            access.check(text)
        time.now_s += 0.05
    assert 1 <= len(asked) <= 6


def test_uses_are_noted_once_an_hour(opened: Opened, time: Time) -> None:
    access, store = opened()
    assert isinstance(store, SqliteStore)
    secret = access.create_key("k", "read").secret
    before = store.commits
    for minutes in (0, 1, 59, 60, 61, 119):
        time.now_ms = START_MS + minutes * 60_000
        for _ in range(10):
            assert access.check(secret)
    access.close()
    assert store.commits - before == 2
    assert access.list_keys()[0].last_used_at == START_MS + HOUR_MS
    assert access.check(secret)  # closed: let in, and noted no more


def test_what_another_process_noted_is_not_noted_again(opened: Opened, time: Time) -> None:
    (mine, store), (theirs, _) = opened(), opened()
    secret = mine.create_key("k", "read").secret
    assert theirs.check(secret)
    theirs.close()
    time.now_ms += 1000
    assert mine.check(secret)
    mine.close()
    assert store.api_keys()[0].last_used_ts_ms == START_MS


def test_a_use_that_cannot_be_noted_lets_in_all_the_same(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    access, store = opened()
    made = access.create_key("k", "read")

    def refuse(*_: Any, **__: Any) -> bool:
        raise WorkspaceLockedError("Another process writes.")

    monkeypatch.setattr(store, "mark_api_key_used", refuse)
    assert access.check(made.secret)
    access.close()
    assert made.key.key_id in caplog.text
    assert made.secret not in caplog.text


def test_nobody_is_let_in_after_a_revocation_returned(opened: Opened) -> None:
    access, _ = opened()
    keys = [access.create_key(f"k{n}", "read") for n in range(8)]

    def use_and_revoke(number: int) -> bool:
        made = keys[number]
        before = all(access.check(made.secret) for _ in range(200))
        access.revoke_key(made.key.key_id)
        return before and not any(access.check(made.secret) for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use_and_revoke, range(8)))
