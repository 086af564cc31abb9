"""The seam: what every store promises, whichever database keeps it.

One suite (``tests/storage``) holds each implementation to these docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from wayline.schema import (
    ActionColumns,
    ActionRecord,
    Feedback,
    FeedbackTotals,
    FloatVector,
    ImpressionColumns,
    IntVector,
    ItemFeedback,
    ItemRecord,
    NotificationFeedback,
)

if TYPE_CHECKING:
    import polars as pl

SCAN_ROWS = 262_144
MAX_QUERIES = 32
"""Of one request: a bit each says which of them fetched an impression."""
BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process's transaction: an import commits every second or two.
"""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the rows of one append.

    ``first_position`` and ``last_position`` are those of the accepted rows, both 0 when none was.
    Rows of other callers may lie between them.
    """

    accepted: int
    duplicates: int
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True, eq=False)
class RequestTrace:
    """One answered feed request and what it showed, so that later actions can be attributed to it.

    ``item_keys``, ``scores``, ``propensities`` and ``provenance`` are parallel, shape [K], in the
    order shown. ``chain_id`` names the cursor chain (the first page's ``request_id``; empty means
    this request starts one). ``trace`` and ``provenance`` are JSON values and hold keys, never a
    user's id: what names a person must stay where ``forget_user`` finds it.

    ``queries`` are the keys of the items that retrieval started from (the medoids of the interests
    drawn), shape [at most 32]; bit q of ``via[i]``, uint32 [K] or empty, says that ``queries[q]``
    fetched impression i. ``features`` are the signals of each impression, float16 [K, F] or empty.
    ``ranked`` is a learned ranker's own score of each impression, float32 [K] or empty, NaN where it was not asked;
    ``tokens`` what it read of the person's actions, packed (``wayline.ranking.examples.readings``).
    ``seen`` is false for an answer that nobody was shown (a question about the past): it is kept to
    be explained, and is nobody's impression.
    """

    request_id: str
    user_key: int
    ts_ms: int
    item_keys: IntVector
    scores: FloatVector
    propensities: FloatVector
    surface: str | None = None
    generation: str | None = None
    chain_id: str = ""
    provenance: Sequence[Any] = ()
    trace: Mapping[str, Any] = field(default_factory=dict)
    queries: IntVector = field(default_factory=lambda: np.empty(0, np.int64))
    via: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    features: npt.NDArray[np.float16] = field(default_factory=lambda: np.empty((0, 0), np.float16))
    seen: bool = True
    ranked: FloatVector = field(default_factory=lambda: np.empty(0, np.float32))
    tokens: bytes = b""

    def __post_init__(self) -> None:
        sizes = {len(self.item_keys), len(self.scores), len(self.propensities)}
        if self.provenance:
            sizes.add(len(self.provenance))
        sizes |= {len(column) for column in (self.via, self.features) if len(column)}
        assert len(sizes) == 1, f"columns of unequal length: {sizes}"
        assert len(self.queries) <= MAX_QUERIES, f"{len(self.queries)} queries"
        assert int(self.via.max(initial=0)) < 1 << len(self.queries), "via names an unknown query"
        assert self.features.ndim == 2, f"features of shape {self.features.shape}"


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRequest:
    """What a learned ranker read and answered in one request, and what came of it.

    ``item_keys`` [K], ``features`` float16 [K, F], ``ranked`` float32 [K] (NaN where it was not asked), ``tokens`` as
    packed; ``signals`` are the weights of the recipe then; ``answers`` are ``(item_key, action_key, ts_ms)``.
    """

    number: int
    user_key: int
    ts_ms: int
    item_keys: IntVector
    features: npt.NDArray[np.float16]
    ranked: FloatVector
    tokens: bytes
    signals: Mapping[str, float]
    answers: Sequence[tuple[int, int, int]]


WAITING = ("queued", "sending")
"""The states of a notification that is still to be delivered."""
NOTIFICATION_STATES = (*WAITING, "sent", "failed")


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """One notification as the outbox keeps it.

    ``payload`` is what is delivered and ``features`` what the journey was like, both JSON objects. ``sending`` is the
    state of one that was being handed over: whether it arrived is not known until the delivery is repeated.
    ``next_ts_ms`` is when it may be tried; ``attempts`` how often it was.
    """

    notification_id: str
    user_key: int
    journey_id: str
    journey: str
    created_ts_ms: int
    channel: str
    payload: Mapping[str, Any]
    features: Mapping[str, Any] = field(default_factory=dict)
    status: str = "queued"
    attempts: int = 0
    next_ts_ms: int = 0
    sent_ts_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """One API key as the store keeps it: a digest, from which nobody gets the key back.

    ``key_id`` is public and names the key for people; ``scope`` is the name of one (``wayline.access.Scope``).
    ``last_used_ts_ms`` is right to the hour. A key counts while ``revoked_ts_ms`` is None.
    """

    key_id: str
    name: str
    scope: str
    digest: bytes = field(repr=False)
    created_ts_ms: int
    last_used_ts_ms: int | None = None
    revoked_ts_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRecipe:
    """One version of what a team set over the recipe that builds find.

    ``version`` counts from 1; ``edits`` are settings by name; ``undo`` is true for one that takes the version in use
    before it back.
    """

    version: int
    created_ts_ms: int
    author: str
    note: str
    edits: Mapping[str, float]
    undo: bool = False


class Store(Protocol):
    """The log of actions and all that hangs on it.

    The log is append-only and every action has a *position*: a whole number that grows in the order
    of commits and is never given twice. Positions may have gaps (refused duplicates, forgotten
    people). Ids are strings at this edge and *keys* inside: whole numbers from 1, dense, given
    once, never reused. Key 0 means unknown.

    Every method may be called from any thread, and several processes may hold the same store open:
    a read sees all that any of them had committed when it began. A write returns when it is on disk
    (fsynced), or raises and has left nothing behind.

    Raises (any method)
    -------------------
    WorkspaceLockedError
        If another process keeps the store locked for longer than the busy timeout.
    DiskFullError
        If the disk refuses a write; what was acknowledged is safe and the store can be used again
        once there is room.
    WorkspaceError
        If the file is damaged or cannot be read or written.
    """

    # -- the log -----------------------------------------------------------------------------------

    def append_actions(self, frame: pl.DataFrame) -> Appended:
        """Append actions that are already validated; those known before are counted, not stored.

        Columns ``user_id, item_id, action`` (String), ``ts_ms`` (Int64, UTC) without nulls;
        optionally ``value`` (Float64; NaN is null), ``surface, request_id, action_id, query,
        board`` (String), each with nulls where a row has none. The identity of an action is its
        ``action_id`` where it has one, else user, item, action and time together; the first of
        several equal ones stays, also inside one frame. Unknown ids get keys in the order of their
        first appearance. Calls from several threads share one transaction and one fsync, each gets
        its own counts, and all of them fail together.
        """
        ...

    def position(self) -> int:
        """The newest position ever given, 0 for an empty log; a few microseconds."""
        ...

    def scan_actions(
        self, *, after: int = 0, until_ts_ms: int | None = None, batch: int = SCAN_ROWS
    ) -> Iterator[ActionColumns]:
        """All actions with ``position > after`` and ``ts_ms <= until_ts_ms``, in order of position.

        Batches hold at most ``batch`` rows and never none. What is appended after the first batch
        was asked for is left out.
        """
        ...

    def user_actions(
        self, user_key: int, *, until_ts_ms: int | None = None, limit: int | None = None
    ) -> ActionColumns:
        """One person's actions, newest first, later position first among equal times; empty for an
        unknown key.

        Cost: proportional to what is returned, whatever the size of the log.
        """
        ...

    def pack_history(self, user_key: int) -> int:
        """Move part of a long history to where it takes less room and is read faster; no answer of
        any method changes.

        One short transaction; gives the number of actions moved, 0 when there is nothing worth it.
        """
        ...

    def long_histories(self) -> IntVector:
        """The keys of people for whom ``pack_history`` has something to do; reads all actions that
        are not packed.
        """
        ...

    def action_records(
        self, user_id: str, *, until_ts_ms: int | None = None, limit: int | None = 100
    ) -> list[ActionRecord]:
        """``user_actions`` by id and with everything that came with each action; empty for an
        unknown user.
        """
        ...

    def action_details(self, positions: IntVector) -> list[tuple[str | None, str | None]]:
        """``query`` and ``board`` of the actions at some positions; None where one has none."""
        ...

    def action_words(self, positions: IntVector | None = None) -> pl.DataFrame:
        """``position, query, board`` of the actions that have any of the two, at some positions or in the whole log;
        ascending, no row for an action without.
        """
        ...

    def action_surfaces(self, positions: IntVector) -> IntVector:
        """The surface_key of the actions at some positions, shape [len(positions)]; 0 where one has
        none or there is no such action.
        """
        ...

    def count_actions(self) -> int:
        """Actions in the log."""
        ...

    def newest_ts_ms(self) -> int | None:
        """The latest time of any action, None for an empty log."""
        ...

    def action_names(self) -> list[str]:
        """The names of actions; ``action_key - 1`` is the index."""
        ...

    def surface_names(self) -> list[str]:
        """The names of surfaces; ``surface_key - 1`` is the index."""
        ...

    # -- dictionaries ------------------------------------------------------------------------------

    def user_key(self, user_id: str) -> int | None:
        """The key of a user, None if unknown."""
        ...

    def user_keys(self, ids: Sequence[str]) -> IntVector:
        """The keys of users, shape [len(ids)], 0 where unknown."""
        ...

    def user_ids(self, keys: IntVector) -> list[str]:
        """The ids of users, "" where the key is unknown or the person was forgotten."""
        ...

    def find_users(self, text: str, *, limit: int) -> list[str]:
        """Ids that have a text in them, those with it nearest their beginning first, then by id; small and large
        letters (of ASCII) are the same. None of a person who was forgotten.

        Cost: reads all ids; a quarter of a second for a million.
        """
        ...

    def item_key(self, item_id: str) -> int | None:
        """The key of an item (from the catalogue or only seen in actions), None if unknown."""
        ...

    def item_keys(self, ids: Sequence[str]) -> IntVector:
        """The keys of items, shape [len(ids)], 0 where unknown."""
        ...

    def item_ids(self, keys: IntVector) -> list[str]:
        """The ids of items, "" where the key is unknown."""
        ...

    def count_users(self) -> int:
        """Users known and not forgotten."""
        ...

    def count_items(self) -> int:
        """Items known, from the catalogue or from actions; also the largest item key."""
        ...

    # -- items -------------------------------------------------------------------------------------

    def upsert_items(self, frame: pl.DataFrame) -> int:
        """Add items or change what is said about them; gives the number of distinct items.

        Column ``item_id`` (String, no nulls) and any of ``title, description, category, image_url``
        (String), ``tags`` (List(String)), ``created_ts_ms`` (Int64), ``hidden`` (Boolean),
        ``attributes`` (String, a JSON object). What is absent or null leaves the old value; an
        empty text or list clears it. Of several rows for one item the later wins, column by column.
        """
        ...

    def set_hidden(self, item_id: str, hidden: bool) -> None:
        """Hide an item from every feed, or show it again.

        Raises
        ------
        NotFoundError
            If the item is unknown.
        """
        ...

    def item(self, item_key: int) -> ItemRecord:
        """One item; NotFoundError if the key is unknown."""
        ...

    def item_records(self, keys: IntVector) -> list[ItemRecord]:
        """Items in the order of ``keys``; NotFoundError if one is unknown."""
        ...

    def item_texts(self, keys: IntVector | None = None) -> pl.DataFrame:
        """``item_key, title, description, category, tags, hidden, created_ts_ms`` of the given or
        of all items.

        Rows follow ``keys``, or ascend by key and then leave none out: row ``i`` is key ``i + 1``.
        NotFoundError if one is unknown.
        """
        ...

    def hidden_keys(self) -> IntVector:
        """Keys of the hidden items, ascending."""
        ...

    def items_version(self) -> int:
        """Grows with every change to the catalogue, by any process; new ids in actions do not
        count. A few microseconds.
        """
        ...

    # -- what was shown ----------------------------------------------------------------------------

    def append_traces(self, requests: Sequence[RequestTrace]) -> None:
        """Keep answered requests with their impressions; a ``request_id`` known before is left as
        it was, and what was shown to a person forgotten meanwhile is not kept.

        Actions that already name one of them are counted for it, as ``append_actions`` counts those
        that come later: an action answers a request of the same person that showed the item.
        """
        ...

    def request(self, request_id: str) -> dict[str, Any] | None:
        """One request as it was traced, None if unknown.

        Keys ``request_id, user_key, ts_ms, surface, generation, chain_id, trace`` and
        ``impressions``: a list of ``item_key, position, score, propensity, provenance`` in the
        order shown. ``queries`` (item keys), ``via`` (which of them fetched each impression, a list
        of item keys each) and ``features`` (float16 [K, F]) are empty where none were traced, and
        the first two also for unknown people.
        """
        ...

    def user_requests(self, user_key: int) -> list[str]:
        """The ids of what was shown to one person, by time; empty for an unknown key."""
        ...

    def newest_requests(self, *, limit: int = 50) -> list[tuple[str, int, int, str | None, int]]:
        """``(request_id, user_key, ts_ms, surface, shown)`` of the requests that were kept last, the newest first."""
        ...

    def shown_items(self, chain_id: str) -> IntVector:
        """Keys of the items already shown in a cursor chain, in the order shown; empty for an
        unknown chain.
        """
        ...

    # -- what came of it ---------------------------------------------------------------------------

    def user_feedback(
        self, user_key: int, *, until_ts_ms: int | None = None, requests: int = 200
    ) -> Feedback:
        """The newest ``requests`` requests of one person with ``ts_ms <= until_ts_ms``, and the
        engagements until then; empty for an unknown key.

        It depends on what was shown and on the log, not on the order in which they arrived. Of an
        action that was repeated the earliest counts; of an item shown twice in one answer, its
        first place.
        """
        ...

    def scan_feedback(
        self, *, since_ts_ms: int, until_ts_ms: int | None = None, requests: int = 4096
    ) -> Iterator[tuple[IntVector, Feedback]]:
        """What everybody was shown with ``since_ts_ms <= ts_ms <= until_ts_ms``, and the engagements until then, in
        parts that are never empty.

        A part is ``user_key``, shape [R], of its requests, and their ``Feedback`` as ``user_feedback`` has it; people
        ascend, and a person is in one part. Parts hold about ``requests`` requests, more where one person has more,
        and each is of its own moment: a person forgotten meanwhile is in none that comes later.
        """
        ...

    def user_impressions(
        self, user_key: int, *, until_ts_ms: int | None = None, limit: int = 100
    ) -> ImpressionColumns:
        """Items shown to a person that no action ever answered, until then: newest first, each item
        once (its newest impression); empty for an unknown key.
        """
        ...

    def item_feedback(self, item_key: int, *, requests: int = 20_000) -> ItemFeedback:
        """What came of showing one item to people the log knows, in the newest ``requests`` answers of the store, less
        those to strangers and to questions about the past, which are nobody's impression.

        An answer that showed the item twice counts once. Cost: bounded by ``requests``, whatever the size of the log
        and however often the item was shown before.
        """
        ...

    def request_engagements(self, request_id: str) -> list[tuple[int, int]]:
        """``(item_key, action_key)`` of what answered one request; empty for an unknown one."""
        ...

    def scored_requests(
        self, *, after: int = 0, until_ts_ms: int | None = None, limit: int = 10_000
    ) -> list[ScoredRequest]:
        """Requests that a learned ranker scored and a known person was shown, oldest number first: at most ``limit``
        with ``number > after`` and ``ts_ms <= until_ts_ms``.
        """
        ...

    def totals(self) -> FeedbackTotals:
        """Impressions and engagements of everybody, kept up to date; a few microseconds."""
        ...

    def rebuild_engagements(self) -> int:
        """Count all engagements anew from the log and what was shown, in one transaction; gives
        their number. Changes nothing in a sound store.
        """
        ...

    # -- what people are told ----------------------------------------------------------------------

    def queue_notifications(self, rows: Sequence[StoredNotification]) -> int:
        """Put notifications into the outbox, all or none; gives how many are new. One whose id is known stays as it
        is; none is kept of a person forgotten meanwhile.
        """
        ...

    def mark_notification(
        self,
        notification_id: str,
        *,
        status: str,
        attempts: int,
        next_ts_ms: int = 0,
        sent_ts_ms: int | None = None,
        error: str | None = None,
    ) -> bool:
        """Say what became of a delivery; False if the notification is gone (its person was forgotten) or was sent
        already, and then nothing changes.
        """
        ...

    def user_notifications(
        self, user_key: int, *, until_ts_ms: int | None = None
    ) -> list[StoredNotification]:
        """One person's notifications created until then, newest first; empty for an unknown key."""
        ...

    def waiting_notifications(
        self, *, due_ts_ms: int, limit: int = 100
    ) -> list[StoredNotification]:
        """Those that wait and may be tried at a moment, the longest waiting first."""
        ...

    def next_notification_ts_ms(self) -> int | None:
        """When the first of those that wait may be tried; None if none waits."""
        ...

    def count_notifications(self) -> dict[str, int]:
        """How many there are in each state, every state named."""
        ...

    def notification_feedback(
        self, *, until_ts_ms: int | None = None
    ) -> list[NotificationFeedback]:
        """What came of each notification sent until then, oldest first, as far as its own person's actions until then
        name it.
        """
        ...

    # -- who may call ------------------------------------------------------------------------------

    def add_api_key(self, key: StoredApiKey) -> bool:
        """Keep a new API key; False if its ``key_id`` was given before, and then nothing changes."""
        ...

    def api_keys(self) -> list[StoredApiKey]:
        """All API keys in the order in which they were added, the revoked ones too."""
        ...

    def revoke_api_key(self, key_id: str, ts_ms: int) -> bool:
        """Let a key count no more, for good; False if it is unknown or was revoked before."""
        ...

    def mark_api_key_used(self, key_id: str, ts_ms: int, *, unless_since_ts_ms: int) -> bool:
        """Note when a key was used; False, and nothing is written, if a use after ``unless_since_ts_ms`` is noted."""
        ...

    def api_keys_version(self) -> int:
        """Grows with every key that is added or revoked, by any process; a few microseconds."""
        ...

    # -- what the team set -------------------------------------------------------------------------

    def add_recipe(self, recipe: StoredRecipe) -> bool:
        """Keep the next version; False, and nothing changes, if ``recipe.version`` is not the one after the newest."""
        ...

    def recipes(self) -> list[StoredRecipe]:
        """All versions, oldest first."""
        ...

    def recipe_version(self) -> int:
        """The newest version of any process, 0 before the first; a few microseconds."""
        ...

    # -- care --------------------------------------------------------------------------------------

    def forget_user(self, user_id: str) -> dict[str, int]:
        """Remove a person: rows removed per table; no byte of their id, queries or traces stays in
        the store's files.

        The key is never given again. Forgetting an unknown user is not an error (all zero), so a
        forgetting that was cut off can be repeated. Generations built before still hold item
        statistics; their owner must drop the key from them.
        """
        ...

    def forgettings(self) -> int:
        """How often anybody was forgotten, by any process; a few microseconds. Who keeps something
        of people in memory drops it when this grows.
        """
        ...

    def check(self) -> list[str]:
        """What is wrong, one line each; empty for a sound store. Reads everything once."""
        ...

    def backup(self, target: Path) -> None:
        """Copy the store as of now to one file while others go on writing; an old ``target`` is
        replaced at the end.
        """
        ...

    def close(self) -> None:
        """Let go of the files; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_store(
    path: Path,
    *,
    create: bool = False,
    read_only: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> Store:
    """Open the store of a workspace: the one place that chooses an implementation.

    Parameters
    ----------
    path : Path
        A workspace (then ``data/wayline.db`` inside it) or the ``.db`` file itself.
    create : bool
        Make it if it is not there.
    read_only : bool
        Writes raise WorkspaceError; the file is never changed.
    busy_timeout_s : float
        How long to wait for another process's transaction.

    Raises
    ------
    NoWorkspaceError, NewerWorkspaceError, WorkspaceLockedError, DiskFullError, WorkspaceError
        One line each, with the cure.
    """
    from wayline.storage.sqlite.store import SqliteStore

    return SqliteStore(path, create=create, read_only=read_only, busy_timeout_s=busy_timeout_s)
