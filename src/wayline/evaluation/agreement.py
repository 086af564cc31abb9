"""How far two markers agree on levels from one to five, and people's own marks from a file.

Everything is a function of the table of how often the first gave level i where the second gave level j, so the
bootstrap resamples people, adds their tables, and asks the same functions again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.errors import FileProblemError, UnknownColumnsError, shorten
from wayline.evaluation.intervals import Interval, resampled_means
from wayline.evaluation.judge import LEVELS, Mark

Table = npt.NDArray[np.float64]
COLUMNS = ("user_id", "journey", "level")
SIZE = len(LEVELS)
_APART = np.subtract.outer(np.arange(SIZE), np.arange(SIZE)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the judge agrees with people, each with its interval over people; NaN where it cannot be said."""

    pairs: int
    people: int
    exact: Interval
    within_one: Interval
    kappa: Interval
    spearman: Interval

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        figures = ("exact", "within_one", "kappa", "spearman")
        shown = {name: getattr(self, name).to_dict() for name in figures}
        return {"pairs": self.pairs, "people": self.people, **shown}


@dataclass(frozen=True, slots=True)
class HumanMarks:
    """People's marks by ``(user_id, journey)``, and a line for each row that could not be used."""

    levels: dict[tuple[str, str], int]
    problems: list[str] = field(default_factory=list)


def read_marks(path: Path) -> HumanMarks:
    """Read people's marks from a CSV with the columns ``user_id``, ``journey`` (its id or name) and ``level``.

    Raises
    ------
    FileProblemError
        If the file is missing or is no UTF-8 text.
    UnknownColumnsError
        If a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UnknownColumnsError(
                    f"{path.name} has the columns {', '.join(reader.fieldnames or ()) or '(none)'}, expected "
                    f"{', '.join(COLUMNS)}: add {missing[0]}.",
                    field=missing[0],
                )
            return _read_rows(reader)
    except OSError as error:
        raise FileProblemError(
            f"{path.name} cannot be read ({error.strerror}): check the path."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileProblemError(
            f"{path.name} is no CSV in UTF-8 ({error}): save it as such."
        ) from None


def _read_rows(reader: csv.DictReader[str]) -> HumanMarks:
    found = HumanMarks({})
    for row in reader:
        user_id, journey, level = ((row[name] or "").strip() for name in COLUMNS)
        where = f"row {reader.line_num}"
        if not user_id or not journey:
            found.problems.append(
                f"{where}: no {'user_id' if not user_id else 'journey'}: fill it in."
            )
        elif level not in {str(one) for one in LEVELS}:
            found.problems.append(f"{where}: got level {shorten(level)}, expected 1, 2, 3, 4 or 5.")
        elif (user_id, journey.casefold()) in found.levels:
            found.problems.append(
                f"{where}: {shorten(journey)} was marked before: keep one of the rows."
            )
        else:
            found.levels[user_id, journey.casefold()] = int(level)
    return found


def pair_up(marks: Sequence[Mark], human: HumanMarks) -> list[tuple[str, int, int]]:
    """Give ``(user_id, the judge's level, the person's level)`` where both marked a journey."""
    pairs = []
    for mark in marks:
        names = (
            (mark.user_id, mark.journey_id.casefold()),
            (mark.user_id, mark.journey.casefold()),
        )
        level = next((human.levels[name] for name in names if name in human.levels), None)
        if level is not None:
            pairs.append((mark.user_id, mark.level, level))
    return pairs


def agreement(pairs: Sequence[tuple[str, int, int]], *, seed: int = 0) -> Agreement:
    """Say how far two markers agree.

    Parameters
    ----------
    pairs : sequence of (str, int, int)
        Whose journey it is, and the level that each gave it.
    seed : int
        Of the bootstrap: 1,000 samples of the people.

    Examples
    --------
    >>> found = agreement([("ann", 5, 5), ("ann", 2, 1), ("bob", 3, 3), ("bob", 1, 2)])
    >>> found.exact.value, found.within_one.value, round(found.kappa.value, 3)
    (0.5, 1.0, 0.886)
    """
    people = {user_id: row for row, user_id in enumerate(dict.fromkeys(p[0] for p in pairs))}
    tables = np.zeros((len(people), SIZE, SIZE))
    for user_id, a, b in pairs:
        tables[people[user_id], a - 1, b - 1] += 1

    def measured(figure: Callable[[Table], float]) -> Interval:
        return _interval(tables, figure, seed)

    return Agreement(
        len(pairs),
        len(people),
        exact=measured(exact_agreement),
        within_one=measured(within_one),
        kappa=measured(quadratic_kappa),
        spearman=measured(spearman),
    )


def exact_agreement(table: Table) -> float:
    """Share of journeys that both gave the same level."""
    return _share(table, _APART == 0)


def within_one(table: Table) -> float:
    """Share of journeys whose levels are at most one apart."""
    return _share(table, np.abs(_APART) <= 1)


def quadratic_kappa(table: Table) -> float:
    """Agreement beyond chance, where a mistake by two levels weighs four times one by one (Cohen 1968).

    ``1 - Σ w·observed / Σ w·expected`` with ``w = (i - j)²``. 1 is agreement, 0 what two markers with these habits have
    by chance; NaN where both gave one and the same level throughout, as nothing can be told then.
    """
    total = table.sum()
    if not total:
        return float("nan")
    weights = _APART**2
    expected = np.outer(table.sum(1), table.sum(0)) / total
    by_chance = float((weights * expected).sum())
    return 1 - float((weights * table).sum()) / by_chance if by_chance else float("nan")


def spearman(table: Table) -> float:
    """Correlation of ranks, ties at their mean rank; NaN where either gave one level only."""
    total = table.sum()
    rows, columns = table.sum(1), table.sum(0)
    a = np.cumsum(rows) - rows / 2 - total / 2  # mid-ranks around their mean
    b = np.cumsum(columns) - columns / 2 - total / 2
    spread = float(np.sqrt((rows * a**2).sum() * (columns * b**2).sum()))
    return float(a @ table @ b) / spread if spread > 0 else float("nan")


def _share(table: Table, where: npt.NDArray[np.bool_]) -> float:
    total = table.sum()
    return float(table[where].sum() / total) if total else float("nan")


def _interval(tables: Table, figure: Callable[[Table], float], seed: int) -> Interval:
    """A figure of all people's table, with its interval over samples of people in which it can be said."""
    nothing = float("nan")
    if not len(tables):
        return Interval(nothing, nothing, nothing)
    value = figure(tables.sum(0))
    flat = tables.reshape(len(tables), -1)
    sampled = [figure(t.reshape(SIZE, SIZE)) for t in resampled_means(flat, seed=seed) * len(flat)]
    known = np.array([one for one in sampled if not np.isnan(one)])
    if np.isnan(value) or not len(known):
        return Interval(value, nothing, nothing)
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(value, float(low), float(high))
