"""Keys made, revoked, listed, and checked on every request."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from wayline.access.scopes import Scope
from wayline.access.secret import digest_of, key_id_of, new_secret
from wayline.clock import HOUR_MS, Clock, wall_clock
from wayline.errors import InputError, NotFoundError, WaylineError, shorten
from wayline.schema import ApiKey, NewApiKey
from wayline.storage.store import Store, StoredApiKey

RECHECK_S = 1.0
"""A key that another process revokes is let in for at most this long."""
NAME_CHARACTERS = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do, and by which key; ``key_id`` is empty for a key of the settings."""

    scope: Scope
    key_id: str
    name: str


class Access:
    """The API keys of one workspace. Safe to use from many threads and processes.

    Keys that count are held in memory. Whether any process changed them is asked of the store at most once in
    ``RECHECK_S``, and at once for a key that is not among them, so that a new one works as soon as it is made.

    Parameters
    ----------
    store : Store
        Where digests of keys are kept; the caller closes it, after :meth:`close`.
    clock : callable, optional
        Now in UTC milliseconds, for the times that are shown.
    monotonic_s : callable, optional
        Seconds that never go back, for the age of what is in memory.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock = wall_clock,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._live: Mapping[str, tuple[bytes, Grant]] = {}
        self._version = -1
        self._looked_s = -RECHECK_S
        self._used_ts_ms: dict[str, int] = {}
        self._background: ThreadPoolExecutor | None = None
        self._closed = False

    def create_key(self, name: str, scope: Scope | str) -> NewApiKey:
        """Make a key; what comes back holds its secret, which is not kept and cannot be shown again.

        Parameters
        ----------
        name : str
            Who will use it, for people: 1 to 100 printable characters. Need not be unique.
        scope : Scope or str
            The most that it may do.

        Raises
        ------
        InputError
            If the name or the scope is not one.
        """
        scope = scope if isinstance(scope, Scope) else Scope.named(scope)
        name = _name(name)
        while True:
            key_id, secret = new_secret()
            row = StoredApiKey(key_id, name, str(scope), digest_of(secret), self._clock())
            if self._store.add_api_key(row):  # else the id is taken: one in four billion
                self._look()
                return NewApiKey(_record(row), secret)

    def revoke_key(self, key_id: str) -> ApiKey:
        """Let a key count no more: at once here, within ``RECHECK_S`` in other processes. Again changes nothing.

        Raises
        ------
        NotFoundError
            If there is no such key.
        InputError
            If a whole key came, which belongs neither in a URL nor in the history of a shell.
        """
        if key_id_of(key_id) is not None:
            raise InputError(
                "Got a whole key, expected its id: give the 8 characters between wl_ and the next _.",
                field="key_id",
            )
        self._store.revoke_api_key(key_id, self._clock())
        self._look()
        found = next((key for key in self.list_keys() if key.key_id == key_id), None)
        if found is None:
            raise NotFoundError(
                f"There is no key {shorten(key_id)}: `wayline keys list` lists the ids of all.",
                field="key_id",
            )
        return found

    def list_keys(self) -> list[ApiKey]:
        """All keys ever made, oldest first, the revoked ones too."""
        return [_record(row) for row in self._store.api_keys()]

    def any_live(self) -> bool:
        """Whether any key counts, as far as this process knows: another's change is seen within ``RECHECK_S``."""
        return bool(self._fresh())

    def check(self, secret: str) -> Grant | None:
        """What a key lets its bearer do; None for one that is unknown, revoked, or no key at all.

        Cost: a SHA-256 and a look into a dict, a few microseconds; the store is asked once in ``RECHECK_S``, and
        for every well-formed key with an unknown id. The ids are public, so that only digests are compared in constant
        time. Its use is noted in the background, at most once an hour.
        """
        key_id = key_id_of(secret)
        if key_id is None:
            return None
        known = self._fresh().get(key_id) or self._look().get(key_id)
        if known is None:
            return None
        digest, grant = known
        if not hmac.compare_digest(digest, digest_of(secret)):
            return None
        self._note_use(key_id)
        return grant

    def close(self) -> None:
        """Write what waits; uses are noted no more."""
        with self._lock:
            self._closed = True
            background = self._background
        if background is not None:
            background.shutdown()

    def _fresh(self) -> Mapping[str, tuple[bytes, Grant]]:
        """The keys that count, not older than ``RECHECK_S``."""
        if self._monotonic_s() - self._looked_s < RECHECK_S:
            return self._live
        return self._look()

    def _look(self) -> Mapping[str, tuple[bytes, Grant]]:
        """The keys that count now. The version is read first: a change in between is found by the next look."""
        with self._lock:
            now_s = self._monotonic_s()
            version = self._store.api_keys_version()
            if version != self._version:
                rows = self._store.api_keys()
                for row in rows:
                    self._used_ts_ms.setdefault(row.key_id, row.last_used_ts_ms or 0)
                self._live = {
                    row.key_id: (row.digest, Grant(Scope.named(row.scope), row.key_id, row.name))
                    for row in rows
                    if row.revoked_ts_ms is None
                }
                self._version = version
            self._looked_s = now_s
            return self._live

    def _note_use(self, key_id: str) -> None:
        now_ms = self._clock()
        if now_ms - self._used_ts_ms[key_id] < HOUR_MS:
            return
        with self._lock:
            if self._closed or now_ms - self._used_ts_ms[key_id] < HOUR_MS:
                return
            self._used_ts_ms[key_id] = now_ms
            if self._background is None:
                self._background = ThreadPoolExecutor(1, thread_name_prefix="keys")
            self._background.submit(self._write_use, key_id, now_ms)

    def _write_use(self, key_id: str, now_ms: int) -> None:
        try:
            self._store.mark_api_key_used(key_id, now_ms, unless_since_ts_ms=now_ms - HOUR_MS)
        except WaylineError as error:  # the request was answered; a use in an hour notes itself
            log.warning("The use of key %s could not be noted: %s", key_id, error)


def _name(name: str) -> str:
    if (
        not isinstance(name, str)
        or not 0 < len(name.strip()) <= NAME_CHARACTERS
        or not name.isprintable()
    ):
        raise InputError(
            f"Got the name {shorten(name)}, expected 1 to {NAME_CHARACTERS} printable characters: "
            "name the service or person that will use the key.",
            field="name",
        )
    return name.strip()


def _record(row: StoredApiKey) -> ApiKey:
    return ApiKey(
        row.key_id,
        row.name,
        row.scope,
        created_at=row.created_ts_ms,
        last_used_at=row.last_used_ts_ms,
        revoked_at=row.revoked_ts_ms,
    )
