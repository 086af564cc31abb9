"""One look at one person: what the engine is asked, and what the visitor tried meanwhile. Every call may block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wayline.access import Scope
from wayline.interests.controls import INTEREST, JOURNEY, control_rows
from wayline.schema import (
    CONTROL_PREFIXES,
    NOT_INTERESTED,
    ActionRecord,
    Feed,
    FloatMatrix,
    Interest,
    Journey,
)

if TYPE_CHECKING:
    from wayline.engine import Engine

SURFACE = "studio"
MOST_ACTIONS = 2000
MOST_ON_MAP = 400
SUPPOSED_FIELDS = ("item_id", "action", "board", "query")


@dataclass(frozen=True, slots=True)
class Person:
    """The engine's answers about one person at one moment.

    Attributes
    ----------
    known : bool
        Whether the log holds anything of them.
    actions : list of ActionRecord
        The newest of what they did, newest first.
    supposed : list of ActionRecord
        What the visitor tried in the sandbox, newest first.
    why : dict
        The decision behind the feed, as ``Engine.explain`` has it.
    on_map : list of str
        Distinct items of both, newest first, then those of the feed; ``vectors`` are theirs.
    titles : dict of str to str
        Of every item named anywhere here.
    choices : list of str
        What a visitor may do with an item: the workspace's own actions, the worthiest first, then "not interested".
    images : dict of str to str
        Addresses of pictures of the items of the feed, where they have any.
    realtime : int
        How many of the newest actions are the real-time sequence; the rest is the lifelong one's.
    """

    user_id: str
    known: bool
    built: bool
    now: int
    actions: list[ActionRecord] = field(default_factory=list)
    supposed: list[ActionRecord] = field(default_factory=list)
    interests: list[Interest] = field(default_factory=list)
    journeys: list[Journey] = field(default_factory=list)
    feed: Feed | None = None
    why: dict[str, Any] = field(default_factory=dict)
    on_map: list[str] = field(default_factory=list)
    vectors: FloatMatrix | None = None
    titles: dict[str, str] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    realtime: int = 100


class Visit:
    """What one open page knows: whom it looks at, and what was tried in its sandbox.

    In the sandbox an action lives here and in the arguments of the engine's next answers (``supposing``), nowhere else.
    Outside of it the visitor acts as the person: feeds count as shown, actions are in the log.

    Parameters
    ----------
    engine : Engine
    user_id : str
    check : callable
        Raises ``NotAllowedError`` where the visitor may not do what needs a scope; asked at every click.
    """

    def __init__(self, engine: Engine, user_id: str, check: Callable[[Scope], None]) -> None:
        self._engine, self.user_id, self._check = engine, user_id, check
        self.sandbox = True
        self._supposed: list[dict[str, Any]] = []

    @property
    def tried(self) -> int:
        """How much was tried in the sandbox."""
        return len(self._supposed)

    def leave_sandbox(self) -> None:
        """Act as the person from now on; NotAllowedError for who may only look."""
        self._check(Scope.WRITE)
        self.sandbox = False

    def look(self) -> Person:
        """Ask everything that the page shows; NotAllowedError for who was signed out meanwhile."""
        self._check(Scope.READ if self.sandbox else Scope.WRITE)
        engine, user_id = self._engine, self.user_id
        actions = engine.actions(user_id, limit=MOST_ACTIONS)
        built = engine.current_generation() is not None
        blank = Person(user_id, known=bool(actions), built=built, now=engine.now(), actions=actions)
        if not built or not (actions or self._supposed):
            return blank
        supposing = self._supposed if self.sandbox else []
        if self.sandbox:
            feed, why = engine.look(user_id, supposing=supposing)
        else:
            feed = engine.feed(user_id, surface=SURFACE)
            why = engine.explain(feed.request_id)
        interests = engine.interests(user_id, supposing=supposing)
        tried = self._records(blank.now) if self.sandbox else []
        on_map = _distinct(tried + actions, feed)
        members = [item for interest in interests for item in interest.items]
        return Person(
            user_id,
            known=True,
            built=True,
            now=blank.now,
            actions=actions,
            supposed=tried,
            interests=interests,
            journeys=engine.journeys(user_id, supposing=supposing),
            feed=feed,
            why=why,
            on_map=on_map,
            vectors=engine.item_vectors(on_map),
            titles=engine.item_titles(
                list(dict.fromkeys([*on_map, *members, *(a.item_id for a in actions)]))
            ),
            choices=self._choices(),
            images=engine.item_images([item.item_id for item in feed.items]),
            realtime=engine.config.sequences.realtime,
        )

    def act(self, item_id: str, action: str, request_id: str | None) -> None:
        """Do something with an item of a feed: as the person, or in the sandbox."""
        if self.sandbox:
            self._supposed.append({"item_id": item_id, "action": action})
            return
        self._check(Scope.WRITE)
        row = {"user_id": self.user_id, "item_id": item_id, "action": action, "surface": SURFACE}
        self._engine.add_actions([{**row, "ts": self._engine.now(), "request_id": request_id}])

    def steer(self, interest: Interest, **said: Any) -> None:
        """Rename, mute or boost an interest: as the person, or in the sandbox."""
        if not self.sandbox:
            self._check(Scope.WRITE)
            self._engine.change_interest(self.user_id, interest.id, **said)
            return
        self._suppose(INTEREST, interest.id, interest.medoid, said)

    def steer_journey(self, journey: Journey, **said: Any) -> None:
        """Rename, mute or boost a journey: as the person, or in the sandbox."""
        if not self.sandbox:
            self._check(Scope.WRITE)
            words = {("name" if key == "label" else key): value for key, value in said.items()}
            self._engine.change_journey(self.user_id, journey.id, **words)
            return
        self._suppose(JOURNEY, journey.id, journey.evidence[0].item_id, said)

    def _suppose(self, subject: str, id_: str, item_id: str, said: Mapping[str, Any]) -> None:
        words = {"label": None, "muted": None, "boost": None, "reset": False, **said}
        rows = control_rows(subject, self.user_id, id_, item_id, self._engine.now(), **words)
        self._supposed += [{name: row[name] for name in SUPPOSED_FIELDS} for row in rows]

    def take_back(self, *, everything: bool = False) -> None:
        """Forget the last thing tried in the sandbox, or all of it."""
        del self._supposed[0 if everything else -1 :]

    def _choices(self) -> list[str]:
        worth = self._engine.config.actions
        names = sorted(worth, key=lambda name: -worth[name])
        if not names:
            logged = self._engine.store.action_names()
            names = [name for name in logged if not name.startswith(CONTROL_PREFIXES)] or ["view"]
        return [name for name in names if name != NOT_INTERESTED] + [NOT_INTERESTED]

    def _records(self, now: int) -> list[ActionRecord]:
        return [
            ActionRecord(row["item_id"], row["action"], now, query=row.get("query"))
            for row in reversed(self._supposed)
        ]


def _distinct(actions: list[ActionRecord], feed: Feed) -> list[str]:
    """Give the newest items that were acted on, then those of the feed."""
    acted = dict.fromkeys(
        action.item_id for action in actions if not action.action.startswith(CONTROL_PREFIXES)
    )
    return list(dict.fromkeys([*list(acted)[:MOST_ON_MAP], *(item.item_id for item in feed.items)]))
