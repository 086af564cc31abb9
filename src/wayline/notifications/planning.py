"""Who would be told what, now: each person's best journey that may be told, the best of all first."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from wayline.clock import DAY_MS
from wayline.notifications.caps import same_items, told
from wayline.notifications.copy import Shown, Templates
from wayline.notifications.delivery.channel import Message
from wayline.notifications.eligibility import Rules, journey_reason, person_reason
from wayline.notifications.quiet import zone_named
from wayline.notifications.wishes import WishLog, mail_address
from wayline.schema import Journey, Notification
from wayline.storage.store import Store, StoredNotification

Journeys = Callable[[str], Sequence[Journey]]
"""A person's journeys, now."""
ItemsOf = Callable[[str, Journey, int], Sequence[Shown]]
"""At most so many items of a person's journey, the best first."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One notification, ready to be kept and delivered."""

    user_key: int
    message: Message
    score: float
    confidence: float
    features: Mapping[str, Any] = field(default_factory=dict)

    def record(self, channel: str) -> Notification:
        """What a caller sees of it."""
        return _record(self.message, channel, "planned", self.score, self.confidence)

    def stored(self, channel: str) -> StoredNotification:
        """What the outbox keeps of it."""
        message = self.message
        return StoredNotification(
            notification_id=message.id,
            user_key=self.user_key,
            journey_id=message.journey_id,
            journey=message.journey,
            created_ts_ms=message.created_at,
            channel=channel,
            payload=message.content(),
            features={**self.features, "score": self.score, "confidence": self.confidence},
            next_ts_ms=message.created_at,
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody who is not told anything, why, and the journey that it is about."""

    user_id: str
    reason: str
    journey: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would send, the best first, and whom it leaves out.

    ``unknown_zones`` counts the people whose time zone there is not: the configured one stood in for it.
    """

    planned: list[Planned]
    left_out: list[LeftOut]
    unknown_zones: int = 0

    def reasons(self) -> dict[str, int]:
        """How many people are left out, by reason, the most frequent first."""
        return dict(Counter(one.reason for one in self.left_out).most_common())


def record_of(row: StoredNotification) -> Notification:
    """What a caller sees of a kept one; "queued" also while it is being handed over."""
    status = "queued" if row.status == "sending" else row.status
    message = Message(**row.payload)
    score, confidence = (float(row.features.get(name, 0.0)) for name in ("score", "confidence"))
    return _record(message, row.channel, status, score, confidence)


def _record(
    message: Message, channel: str, status: str, score: float, confidence: float
) -> Notification:
    return Notification(
        id=message.id,
        user_id=message.user_id,
        journey_id=message.journey_id,
        journey=message.journey,
        title=message.title,
        text=message.text,
        items=[item["id"] for item in message.items],
        score=score,
        confidence=confidence,
        created_at=message.created_at,
        channel=channel,
        status=status,
    )


def journey_features(journey: Journey, now_ts_ms: int) -> dict[str, Any]:
    """What a journey was like when it was told: kept with the notification for those who learn from its answer."""
    return {
        "evergreen": journey.evergreen,
        "times": journey.actions,
        "keywords": len(journey.keywords),
        "evidence": len(journey.evidence),
        "queries": len(journey.queries),
        "days_since_last": round((now_ts_ms - journey.last_at) / DAY_MS, 4),
        "days_long": round((journey.last_at - journey.first_at) / DAY_MS, 4),
        "boost": journey.boost,
        **journey.features,  # last: what the ranker read is what it will learn from
    }


@dataclass(slots=True)
class _Candidates:
    """What one person may be told of, the best first; ``why_not`` is why their best journey is not told."""

    user_id: str
    user_key: int
    rows: Sequence[StoredNotification]
    journeys: deque[Journey]
    why_not: LeftOut | None

    @property
    def entry(self) -> tuple[float, str, _Candidates]:
        """Its place in a heap; a person has one, so the last is never compared."""
        return -self.journeys[0].score, self.user_id, self


class Planner:
    """Finds what to tell people; reads, and writes nothing.

    Parameters
    ----------
    store : Store
    rules : Rules
    templates : Templates
    wishes : WishLog
    journeys, items_of : callable
        As ``Journeys`` and ``ItemsOf`` say.
    needs_address : bool
        The channel writes to mail addresses: people without one are left out.
    features : callable, optional
        What to keep of a journey for the ranker, given it and now; by default ``journey_features``.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        templates: Templates,
        wishes: WishLog,
        *,
        journeys: Journeys,
        items_of: ItemsOf,
        needs_address: bool,
        features: Callable[[Journey, int], Mapping[str, Any]] = journey_features,
    ) -> None:
        self._store, self._rules, self._templates, self._wishes = store, rules, templates, wishes
        self._journeys, self._items_of, self._features = journeys, items_of, features
        self._needs_address = needs_address
        self._unknown_zones = 0

    def plan(
        self,
        user_ids: Iterable[str],
        now_ts_ms: int,
        *,
        limit: int | None = None,
        as_of: bool = False,
    ) -> Plan:
        """Plan for some people, each once.

        Parameters
        ----------
        limit : int, optional
            At most so many notifications, those of the highest score.
        as_of : bool
            ``now_ts_ms`` is in the past: wishes and notifications after it are not seen.

        Raises
        ------
        TemplateError
            If a template fails for one of them; nothing has happened then.
        """
        planned: list[Planned] = []
        left_out: list[LeftOut] = []
        # Items are what costs: they are asked for by score, whoever's journey it is, until there are enough.
        # Equal scores keep an order that does not depend on who was asked first.
        waiting: list[tuple[float, str, _Candidates]] = []
        self._unknown_zones = 0
        for user_id in dict.fromkeys(user_ids):
            found = self._candidates(user_id, now_ts_ms, as_of)
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                heappush(waiting, found.entry)
        while waiting and (limit is None or len(planned) < limit):
            _, user_id, one = heappop(waiting)
            journey = one.journeys.popleft()
            message = self._for_journey(user_id, one.user_key, journey, one.rows, now_ts_ms)
            if isinstance(message, Planned):
                planned.append(message)
                continue
            one.why_not = one.why_not or LeftOut(user_id, message, journey.name)
            if one.journeys:
                heappush(waiting, one.entry)
            else:
                left_out.append(one.why_not)
        left_out += [
            LeftOut(user_id, "limit", one.journeys[0].name) for _, user_id, one in sorted(waiting)
        ]
        return Plan(planned, left_out, self._unknown_zones)

    def _candidates(self, user_id: str, now_ts_ms: int, as_of: bool) -> _Candidates | LeftOut:
        """A person's journeys that may be told, the best first, or why there are none."""
        user_key = self._store.user_key(user_id)
        if user_key is None:
            return LeftOut(user_id, "no_journey")
        wishes = self._wishes.of(user_key, now_ts_ms, as_of=as_of)
        self._unknown_zones += bool(wishes.timezone) and zone_named(wishes.timezone) is None
        rows = told(
            self._store.user_notifications(user_key, until_ts_ms=now_ts_ms if as_of else None)
        )
        reason = person_reason(self._rules, wishes, rows, now_ts_ms)
        if reason is None and self._needs_address and mail_address(user_id, wishes) is None:
            reason = "no_address"
        if reason is not None:
            return LeftOut(user_id, reason)
        why_not: LeftOut | None = None
        journeys: deque[Journey] = deque()
        for journey in sorted(self._journeys(user_id), key=lambda j: (-j.score, j.id)):
            reason = journey_reason(self._rules, journey, rows, now_ts_ms)
            if reason is None:
                journeys.append(journey)
            elif not journeys:
                why_not = why_not or LeftOut(user_id, reason, journey.name)
        if not journeys:
            return why_not or LeftOut(user_id, "no_journey")
        return _Candidates(user_id, user_key, rows, journeys, why_not)

    def _for_journey(
        self,
        user_id: str,
        user_key: int,
        journey: Journey,
        rows: Sequence[StoredNotification],
        now_ts_ms: int,
    ) -> Planned | str:
        """The notification of one journey, or why there is none."""
        config = self._rules.config
        items = list(self._items_of(user_id, journey, config.items))[: config.items]
        if len(items) < config.min_items:
            return "few_items"
        notification_id = secrets.token_hex(16)
        words = self._templates.words(
            journey.name, journey.keywords, items, user_id=user_id, notification_id=notification_id
        )
        if same_items(rows, [item.id for item in words.items]):
            return "repeated_items"
        message = Message(
            id=notification_id,
            user_id=user_id,
            journey_id=journey.id,
            journey=journey.name,
            title=words.title,
            text=words.text,
            html=words.html,
            items=[
                {"id": i.id, "title": i.title, "url": i.url, "image_url": i.image_url}
                for i in words.items
            ],
            created_at=now_ts_ms,
            unsubscribe_url=words.unsubscribe_url,
        )
        features = self._features(journey, now_ts_ms)
        return Planned(user_key, message, journey.score, journey.confidence, features)
