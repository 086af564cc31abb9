"""What an evaluation of journeys found, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wayline.cli.output import count, print_table, say

if TYPE_CHECKING:
    from wayline.cli.journey_trial import JourneyReport


def print_journey_report(report: JourneyReport) -> None:
    """Print coverage beside every other kind of list, then how good the journeys are by themselves."""
    ks = report.protocol["ks"]
    best = sorted(report.coverage.items(), key=lambda pair: -pair[1][ks[0]].value)
    rows = [
        (name, *(f"{found[k].value:.3f} ({found[k].low:.3f}–{found[k].high:.3f})" for k in ks))
        for name, found in best
    ]
    columns = ("list", *(f">first {k}" for k in ks))
    print_table("Share of the following weeks' actions on what a list claims", columns, rows)
    for title, ahead in (
        ("How far journeys are ahead of a list of as many lines (at least)", report.ahead),
        (
            "The same, of a list cut to as many lines as the person has journeys",
            report.ahead_equal,
        ),
    ):
        rows = [
            (
                name,
                *(
                    f"{ahead[name][k].interval.value:+.3f} ({ahead[name][k].interval.low:+.3f})"
                    for k in ks
                ),
            )
            for name, _ in best
            if name in ahead
        ]
        print_table(title, columns, rows)
    say(
        f"{count(report.people, 'person', 'people')}, {report.cases:,} cases; every line of a list claims "
        f"{report.protocol['share']:.0%} of the catalogue, no item twice; 95 % intervals over people."
    )
    quality = report.quality
    lines = [
        (name.replace("_", " "), _figure(value))
        for name, value in quality.items()
        if not isinstance(value, dict)
    ]
    for name in ("nothing_new", "more_actions", "more_actions_of_the_active"):
        if name in quality:
            lines += [
                (f"{name.replace('_', ' ')}: {k.replace('_', ' ')}", _figure(v))
                for k, v in quality[name].items()
            ]
    print_table("The journeys themselves", ("figure", ">value"), lines)
    for note in report.notes:
        say(note)


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
