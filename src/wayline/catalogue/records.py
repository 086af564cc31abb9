"""What the catalogue answers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ItemActions:
    """What was done with one item, in the part of the log that was counted.

    Attributes
    ----------
    names : dict of str to int
        How often each action was done, the most frequent first.
    weeks : list of (int, int)
        How often anything was, by week: its Monday in UTC milliseconds, and the number; from the first week with an
        action to the log's newest, also those without.
    last_at : int, optional
        When last, in UTC milliseconds.
    counted : int
        How many actions of the log were looked through. ``whole`` says whether these are all.
    """

    names: dict[str, int] = field(default_factory=dict)
    weeks: list[tuple[int, int]] = field(default_factory=list)
    last_at: int | None = None
    counted: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ItemInterest:
    """Interests of one name that hold an item: how many people have it, and what it is to them on average.

    ``share`` is the part of all the importance of a person's interests, 0 to 1.
    """

    label: str
    people: int
    importance: float
    share: float


@dataclass(frozen=True, slots=True)
class ItemLiker:
    """Somebody in one of whose interests an item is; ``weight`` is what the item adds to that interest's importance."""

    user_id: str
    label: str
    weight: float


@dataclass(frozen=True, slots=True)
class ItemAudience:
    """Who likes an item, as of the generation in use.

    Attributes
    ----------
    people : int
        In how many people's interests it is.
    named : int
        How many interests, those to which the item adds most, were named for ``interests``; others are only counted.
    interests : list of ItemInterest
        By name, that of the most people first.
    likers : list of ItemLiker
        Some of the people, those to whom it means most first.
    """

    people: int = 0
    named: int = 0
    interests: list[ItemInterest] = field(default_factory=list)
    likers: list[ItemLiker] = field(default_factory=list)
