"""A recipe that somebody is editing: what they changed, what it would do, and what others saved meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wayline.access import Scope
from wayline.recipes import Dial, check_edits
from wayline.schema import Feed, RecipeVersion, Variant

if TYPE_CHECKING:
    from wayline.engine import Engine

PEOPLE = 3
TRIES = 12  # at finding different people


@dataclass(frozen=True, slots=True)
class Sides:
    """One person's feed as it is, and as the draft would make it."""

    user_id: str
    before: Feed
    after: Feed


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that the draft changes; None: not set, so as the build and the settings have it."""

    name: str
    before: float | None
    after: float | None


def some_people(engine: Engine) -> list[str]:
    """Draw people to look at by chance, each once."""
    found: dict[str, None] = {}
    for _ in range(TRIES):
        somebody = engine.anybody()
        if somebody is not None:
            found[somebody] = None
        if len(found) == PEOPLE:
            break
    return list(found)


class Draft:
    """Edits on their way to be a version. Every call may block.

    Parameters
    ----------
    engine : Engine
    check : callable
        Raises ``NotAllowedError`` where the visitor may not do what needs a scope; asked at every call.
    who : str
        In whose name versions are saved.
    """

    def __init__(self, engine: Engine, check: Callable[[Scope], None], who: str = "") -> None:
        self._engine, self._check, self._who = engine, check, who
        self.base = RecipeVersion(0, {})
        self.edits: dict[str, float] = {}

    def load(self) -> None:
        """Start from the version in use, and drop what was changed."""
        self._check(Scope.READ)
        self.base = self._engine.recipes.current()
        self.edits = dict(self.base.edits)

    def put(self, name: str, value: float | None) -> None:
        """Change one setting; None: as the build and the settings have it.

        Raises
        ------
        ConfigError
            If it is none, or out of range; the draft stays as it was.
        """
        edits = {k: v for k, v in self.edits.items() if k != name}
        if value is not None:
            edits |= check_edits({name: value})
        self.edits = edits

    def changes(self) -> list[Change]:
        """What the draft changes in the version that it was made from."""
        names = sorted({*self.base.edits, *self.edits})
        pairs = [(name, self.base.edits.get(name), self.edits.get(name)) for name in names]
        return [Change(*pair) for pair in pairs if pair[1] != pair[2]]

    def meanwhile(self) -> RecipeVersion | None:
        """Give the version that somebody saved since this draft was begun; None where nobody did."""
        self._check(Scope.READ)
        now = self._engine.recipes.current()
        return now if now.version != self.base.version else None

    def lay_over(self) -> None:
        """Put what was changed here over the version in use now."""
        changes = self.changes()
        self.load()
        for change in changes:
            self.put(change.name, change.after)

    def dials(self) -> list[Dial]:
        """Every setting with its value in the draft."""
        self._check(Scope.READ)
        return self._engine.dials(self.edits)

    def shares(self) -> dict[str, float]:
        """What a ranker has of the order, by regime."""
        self._check(Scope.READ)
        return self._engine.ranker_shares()

    def versions(self) -> list[RecipeVersion]:
        """All versions, the newest first."""
        self._check(Scope.READ)
        return self._engine.recipes.versions()[::-1]

    def some_people(self) -> list[str]:
        """Draw people to look at by chance, each once."""
        return some_people(self._engine)

    def preview(self, user_ids: list[str], limit: int) -> list[Sides]:
        """Give the feeds of some people as they are and as the draft would make them; nothing is kept."""
        self._check(Scope.READ)
        sides = (Variant(), Variant(edits=self.edits))
        return [
            Sides(user_id, *self._engine.compare_feeds(user_id, *sides, limit=limit))
            for user_id in user_ids
        ]

    def save(self, note: str) -> RecipeVersion:
        """Make the draft the version in use; see ``Recipes.save``."""
        self._check(Scope.ADMIN)
        saved = self._engine.recipes.save(
            self.edits, note=note, after=self.base.version, author=self._who
        )
        self.load()
        return saved

    def undo(self) -> RecipeVersion:
        """Take the newest version back; see ``Recipes.undo``."""
        self._check(Scope.ADMIN)
        saved = self._engine.recipes.undo(after=self.base.version, author=self._who)
        self.load()
        return saved
