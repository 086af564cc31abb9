"""What a person did, newest first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from wayline.studio.views.words import ago, count, day, minute
from wayline.studio.visit import Person

ALL = "all actions"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One action; ``supposed`` for one that was tried in the sandbox, ``number`` its place in the log, newest first."""

    action: str
    title: str
    item_id: str
    when: str
    where: str
    supposed: bool = False
    number: int = -1


def rows(person: Person, only: str = ALL) -> list[HistoryRow]:
    """Give the actions of one name, or all of them."""
    tried = [(action, -1) for action in person.supposed]
    done = [(action, number) for number, action in enumerate(person.actions)]
    return [
        HistoryRow(
            a.action,
            person.titles.get(a.item_id, a.item_id),
            a.item_id,
            "just now" if number < 0 else minute(a.ts),
            "sandbox" if number < 0 else ", ".join(filter(None, (a.surface, a.query, a.board))),
            number < 0,
            number,
        )
        for a, number in tried + done
        if only in (ALL, a.action)
    ]


def names(person: Person) -> dict[str, str]:
    """The action names to filter by, most frequent first, with how often each was done."""
    often = Counter(action.action for action in (*person.supposed, *person.actions))
    total = sum(often.values())
    return {
        ALL: f"{ALL} ({total:,})",
        **{name: f"{name} ({n:,})" for name, n in often.most_common()},
    }


def summary(person: Person, most: int) -> str:
    """Say in a line who this is."""
    if not person.actions:
        return "no actions in the log"
    newest, oldest = person.actions[0].ts, person.actions[-1].ts
    counted = count(len(person.actions), "action")
    if len(person.actions) >= most:
        return f"the newest {counted}, last {ago(newest, person.now)}"
    return f"{counted} since {day(oldest)}, last {ago(newest, person.now)}"
