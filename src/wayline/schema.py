"""The words that cross a boundary: what callers hand in and get back, and the columns between stages.

Ids (``_id``) are the caller's strings; keys (``_key``) are our int64; times are UTC milliseconds (``_ts_ms``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

IntVector = npt.NDArray[np.int64]
IndexVector = npt.NDArray[np.int32]
FloatVector = npt.NDArray[np.float32]
FloatMatrix = npt.NDArray[np.float32]
BoolVector = npt.NDArray[np.bool_]

NOTIFICATIONS_OFF, NOTIFICATIONS_ON = "notifications.off", "notifications.on"
"""A person's word on whether they want to be notified; the newest counts."""
NOTIFICATIONS_TIMEZONE, NOTIFICATIONS_ADDRESS = "notifications.timezone", "notifications.address"
"""A person's time zone (IANA) and e-mail address, in the action's ``query``; the newest counts."""
NOTIFICATION_OPEN, NOTIFICATION_CLICK = "notification.open", "notification.click"
NOTIFICATION_DISMISS = "notification.dismiss"
"""What came of a notification, whose id is the action's ``request_id``."""
NO_ITEM = "wayline.notifications"
"""The ``item_id`` of a word about notifications that is about no item; no feed shows it."""
CONTROL_PREFIXES = ("interest.", "journey.", "notification.", "notifications.")
"""Actions whose names begin so say something about wayline, not about an item."""
NOT_INTERESTED = "not_interested"
"""The action "not interested in this item": as bad as the best action is good, unless ``[actions]`` says otherwise."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One refused row: where it stood, which field, and why."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the rows handed in; ``accepted + duplicates + len(rejected)`` is what came."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Interest:
    """One interest of a person: a cluster of items, spoken for by its medoid (PinnerSage 2020).

    ``impressions`` and ``engagements`` are what came of showing it, faded by age; ``reward`` the smoothed rate of the
    two (None while nothing was shown through it), ``probability`` that the next feed looks around it.
    """

    id: str
    medoid: str
    label: str
    items: list[str]
    importance: float
    share: float
    last_at: int
    impressions: float = 0.0
    engagements: float = 0.0
    reward: float | None = None
    probability: float = 0.0
    muted: bool = False
    boost: float = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """One item that a journey rests on: how often it was acted on, when last, and what it adds (1 is the most)."""

    item_id: str
    title: str | None
    actions: int
    last_at: int
    weight: float


@dataclass(frozen=True, slots=True)
class Transition:
    """A journey entered a stage at a time: ``ongoing`` when it began or came back, ``ended`` when its rhythm broke."""

    stage: str
    at: int


@dataclass(frozen=True, slots=True)
class Journey:
    """One journey of a person (User Journeys 2025): what they are on, in words that one can say to them.

    ``stage`` is "ongoing" or "ended"; an ``evergreen`` one has been kept up over months. ``confidence``, 0 to 1, is how
    sure it is that the person is on it; ``score`` the chance that they engage with it next, after similar ones above it
    were counted against it. ``ends_at`` is when it ends if nothing more is done, or when it did. ``queries`` are the
    person's own searches and boards that belong to it, ``related`` the names of journeys that others on this one are on
    as well. ``features`` are what the ranker reads.
    """

    id: str
    name: str
    keywords: list[str]
    stage: str
    evergreen: bool
    confidence: float
    score: float
    evidence: list[Evidence]
    actions: int
    first_at: int
    last_at: int
    transitions: list[Transition] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    related: list[str] = field(default_factory=list)
    muted: bool = False
    boost: float = 1.0
    features: dict[str, float] = field(default_factory=dict)
    ends_at: int = 0


@dataclass(frozen=True, slots=True)
class Notification:
    """Something worth telling a person; ``id`` is also the idempotency key, and the ``request_id`` of what it leads to.

    ``status`` is "planned" (nothing was sent), "queued" (kept, being delivered), "sent", or "failed".
    """

    id: str
    user_id: str
    journey_id: str
    journey: str
    title: str
    text: str
    items: list[str]
    score: float
    confidence: float
    created_at: int
    channel: str = ""
    status: str = "planned"


@dataclass(frozen=True, slots=True)
class NotificationFeedback:
    """What came of one notification that was sent: an example for the ranker of journeys.

    ``features`` are those of the journey when it was planned, ``journey`` is what it was called. ``opened``,
    ``clicked`` and ``dismissed`` say that the person, and nobody else, sent such an action with the notification's id.
    """

    id: str
    user_key: int
    journey_id: str
    ts_ms: int
    features: Mapping[str, Any]
    opened: bool
    clicked: bool
    dismissed: bool
    journey: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item is in the feed: a source, and the interest, journey and actions that it came through."""

    source: str
    text: str
    interest: str | None = None
    actions: list[str] = field(default_factory=list)
    journey: str | None = None


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One item of a feed, with its score and why it is there."""

    item_id: str
    score: float
    probabilities: dict[str, float]
    reasons: list[Reason]
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """An answer to a feed request; send ``request_id`` back with the actions it leads to."""

    request_id: str
    items: list[FeedItem]
    cursor: str | None = None
    generation: str | None = None
    cold_start: bool = False
    degraded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Variant:
    """By what a feed is made, for a look: another generation, other edits of the recipe; None: those in use."""

    generation: str | None = None
    edits: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One logged action, as it reads back."""

    item_id: str
    action: str
    ts: int
    value: float | None = None
    surface: str | None = None
    request_id: str | None = None
    query: str | None = None
    board: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One step of a sequence, as it reads back: an item, when, and what was done with it (nothing: it was shown)."""

    item_id: str
    ts: int
    actions: list[str]
    surface: str | None = None


@dataclass(frozen=True, slots=True)
class Sequences:
    """What models read of a person, oldest first: all they did, the newest of it, and what they were shown and left."""

    lifelong: list[TokenRecord]
    realtime: list[TokenRecord]
    impression: list[TokenRecord]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One catalogue item."""

    item_id: str
    title: str | None = None
    description: str | None = None
    category: str | None = None
    tags: list[str] = field(default_factory=list)
    image_url: str | None = None
    created_at: int | None = None
    hidden: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """A neighbour of an item."""

    item_id: str
    score: float
    title: str | None = None


@dataclass(frozen=True, slots=True)
class ItemMatch:
    """An item that a search found; ``lately`` is how often it was acted on in the last four weeks of the log."""

    item_id: str
    title: str | None = None
    category: str | None = None
    hidden: bool = False
    lately: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What one build made, as its manifest says."""

    id: str
    created_at: int
    position: int
    until: int
    items: int
    users: int
    actions: int
    metrics: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key of a workspace, without its secret; ``last_used_at`` is right to the hour."""

    key_id: str
    name: str
    scope: str
    created_at: int
    last_used_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key just made: the only time that its ``secret``, which callers send, is there to be read."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecipeVersion:
    """What a team set over the recipe that builds find: settings by name, and why.

    Version 0 is that of a workspace where nothing was ever set. ``undo`` is true for a version that took another back.
    """

    version: int
    edits: Mapping[str, float]
    note: str = ""
    author: str = ""
    created_at: int = 0
    undo: bool = False


@dataclass(frozen=True, slots=True)
class ActionColumns:
    """Actions as columns, all of shape [M]; absent ``value`` is NaN, absent ``surface_key`` is 0."""

    position: IntVector
    user_key: IntVector
    item_key: IntVector
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector
    value: FloatVector

    def __len__(self) -> int:
        return len(self.position)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one person was shown and what they did about it, as columns, oldest request first.

    Impressions, shape [I] each: ``ts_ms`` (of the request), ``request_idx`` (which request, from 0),
    ``item_key``, ``place`` (in the answer, from 0). The queries that fetched impression i are
    ``via_item_key[via_offsets[i] : via_offsets[i + 1]]``, shapes [P] and [I + 1]; none if another source did.
    Engagements, shape [E] each, by impression and action: ``impression_idx``, ``action_key``, ``acted_ts_ms`` (the
    earliest such action that named the request).
    """

    ts_ms: IntVector
    request_idx: IntVector
    item_key: IntVector
    place: IntVector
    via_offsets: IntVector
    via_item_key: IntVector
    impression_idx: IntVector
    action_key: IntVector
    acted_ts_ms: IntVector

    def __len__(self) -> int:
        return len(self.item_key)

    @classmethod
    def empty(cls) -> Feedback:
        """Of somebody who was never shown anything."""
        nothing: IntVector = np.empty(0, np.int64)
        return cls(
            ts_ms=nothing,
            request_idx=nothing,
            item_key=nothing,
            place=nothing,
            via_offsets=np.zeros(1, np.int64),
            via_item_key=nothing,
            impression_idx=nothing,
            action_key=nothing,
            acted_ts_ms=nothing,
        )


@dataclass(frozen=True, slots=True)
class ItemFeedback:
    """What came of showing one item in the newest answers.

    ``requests`` is how many answers to known people were looked through, the oldest of them from ``since_ts_ms``
    (None: there are none). In ``impressions`` of them the item was shown; ``engagements`` says in how many of these
    an action of each action_key answered it.
    """

    requests: int
    since_ts_ms: int | None
    impressions: int
    engagements: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImpressionColumns:
    """Impressions as columns, all of shape [I]; absent ``surface_key`` is 0."""

    item_key: IntVector
    ts_ms: IntVector
    surface_key: IntVector
    request_number: IntVector

    def __len__(self) -> int:
        return len(self.item_key)


@dataclass(frozen=True, slots=True)
class FeedbackTotals:
    """Over everybody: ``impressions`` by place, ``engagements`` by action_key, as far as a query fetched the item."""

    impressions: IntVector
    engagements: IntVector
