"""What an evaluation found: one table a split, for people and for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wayline.evaluation.intervals import Difference, Interval

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One system's figures.

    Attributes
    ----------
    accuracy : dict of str to Interval
        ``"HR@10"`` and so on, full catalogue; HR with Wilson's interval, the others with the
        bootstrap's.
    beyond : dict of str to float
        ``coverage``, ``diversity``, ``novelty`` and ``gini`` of the lists at the largest k; NaN
        where it cannot be said.
    seconds : float
        To fit and to answer all cases.
    """

    system: str
    accuracy: dict[str, Interval]
    beyond: dict[str, float]
    seconds: float
    is_baseline: bool = True

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON; a figure that cannot be said is None."""
        return {
            "system": self.system,
            "baseline": self.is_baseline,
            **{name: interval.to_dict() for name, interval in self.accuracy.items()},
            **{name: None if math.isnan(value) else value for name, value in self.beyond.items()},
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One split's table, with the protocol that every figure in it followed.

    Attributes
    ----------
    ahead : dict of (str, str) to Difference
        ``(system, baseline)``: how far each asked system is ahead of each baseline in the first
        metric, paired on the cases.
    """

    how: str
    protocol: str
    cases: int
    rows: list[Row]
    ahead: dict[tuple[str, str], Difference] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, system: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.system == system)

    @property
    def best_baseline(self) -> Row | None:
        """The baseline with the highest first metric."""
        baselines = [row for row in self.rows if row.is_baseline]
        return max(baselines, key=_first, default=None)

    def to_dict(self) -> dict[str, Any]:
        """The whole report of this split, for JSON."""
        return {
            "how": self.how,
            "protocol": self.protocol,
            "cases": self.cases,
            "rows": [row.to_dict() for row in self.rows],
            "ahead": [
                {
                    "system": system,
                    "of": baseline,
                    "metric": next(iter(self.rows[0].accuracy)),
                    **difference.interval.to_dict(),
                    "share_above": difference.share_above,
                }
                for (system, baseline), difference in self.ahead.items()
            ],
            "notes": list(self.notes),
        }

    def table(self) -> Table:
        """A rich table: systems down, metrics across, the best of each column bold."""
        from rich.table import Table

        names = list(self.rows[0].accuracy) if self.rows else []
        table = Table(
            title=f"{self.how}, {self.cases:,} users", caption=self.protocol, title_justify="left"
        )
        table.add_column("system", no_wrap=True)
        for name in [*names, *BEYOND]:
            table.add_column(name, justify="right", no_wrap=True)
        best = {name: max(row.accuracy[name].value for row in self.rows) for name in names}
        for row in self.rows:
            cells = [
                _cell(row.accuracy[n], n == names[0], row.accuracy[n].value == best[n])
                for n in names
            ]
            cells += [_plain(row.beyond.get(name, float("nan"))) for name in BEYOND]
            table.add_row(row.system if row.is_baseline else f"[bold]{row.system}[/]", *cells)
        return table

    def verdict(self) -> list[str]:
        """One line a system: where it stands against the best baseline, and whether that is more
        than chance.
        """
        best = self.best_baseline
        lines = []
        for row in self.rows:
            if row.is_baseline or best is None:
                continue
            difference = self.ahead[(row.system, best.system)]
            ratio = _first(row) / _first(best) if _first(best) else float("nan")
            sure = "clear of chance" if difference.clear else "within chance"
            interval = difference.interval
            lines.append(
                f"{row.system}: {ratio:.2f} x {best.system}; difference {interval.value:+.4f} "
                f"({interval.low:+.4f} to {interval.high:+.4f}, paired bootstrap): {sure}"
            )
        return lines


@dataclass(frozen=True, slots=True)
class Report:
    """The evaluation of one log: a table for each split."""

    splits: list[SplitReport]

    def to_dict(self) -> dict[str, Any]:
        """The whole report, for JSON."""
        return {"splits": [split.to_dict() for split in self.splits]}

    def render(self) -> RenderableType:
        """Everything, as one thing for a rich console to print."""
        from rich.console import Group

        parts: list[RenderableType] = []
        for split in self.splits:
            if split.rows:
                parts.append(split.table())
            parts += [*split.verdict(), *(f"note: {note}" for note in split.notes), ""]
        return Group(*parts)


BEYOND = ("coverage", "diversity", "novelty", "gini")


def _first(row: Row) -> float:
    return next(iter(row.accuracy.values())).value


def _cell(interval: Interval, with_range: bool, best: bool) -> str:
    text = f"{interval.value:.4f}"
    if with_range:
        text += f" ({interval.low:.3f}-{interval.high:.3f})"
    return f"[bold]{text}[/]" if best else text


def _plain(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:.1f}"
