"""Do the ranker's probabilities hold? Foretold against happened, on people and times that nothing was fitted on.

    python benchmarks/calibration.py [WORKSPACE] [--json]

Reads the model card of a workspace's ranker; without one, builds and trains the packaged shop first (minutes). Rows are
the candidates of the moments held back for the decision, in ten bins of equal weight by what was foretold. Writes
``results/calibration.json`` and ``docs/images/calibration.svg``.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import wayline
from wayline.datasets import online_retail
from wayline.ranking.learned import DESCRIPTION, FOLDER

HERE = Path(__file__).parent
RESULTS, PLOT = (
    HERE / "results" / "calibration.json",
    HERE.parent / "docs" / "images" / "calibration.svg",
)
SIZE, LEFT, BOTTOM, TOP, RIGHT = 460, 76, 58, 46, 24
COLOURS = ("#1b6ca8", "#d95f02", "#1b8a5a", "#7a4fa3", "#777777")


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Read or make a card, print a table, draw the picture."""
    parser = argparse.ArgumentParser(description="Foretold against happened.")
    parser.add_argument("workspace", nargs="?", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if args.workspace is not None:
        card = read_card(args.workspace)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "shop"
            data = online_retail()
            with wayline.open(folder, create=True, config=data.config) as engine:
                engine.add_items(data.items)
                engine.add_actions(data.actions)
                engine.train()
            card = read_card(folder)
    found: dict[str, Any] = card["calibration"]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(picture(found), "utf-8")
    if args.json:
        print(json.dumps(found))
    else:
        table = Table("head", "foretold", "happened", "candidates", title="Calibration, held back")
        for name, head in found.items():
            for b in head["bins"]:
                table.add_row(
                    name, f"{b['foretold']:.5f}", f"{b['happened']:.5f}", f"{b['weight']:,.0f}"
                )
            table.add_row(name, "mean distance", f"{head['ece']:.5f}", "")
        Console().print(table)
    return found


def read_card(workspace: Path) -> dict[str, Any]:
    """Read the model card of a workspace's generation in use."""
    with wayline.open(workspace) as engine:
        generation = str(engine.current_generation())
        path = engine.path / "data" / "generations" / generation / FOLDER / DESCRIPTION
    card: dict[str, Any] = json.loads(path.read_text("utf-8"))["card"]
    return card


def picture(found: dict[str, Any]) -> str:
    """Draw foretold against happened, both by powers of ten; bins where nothing happened are left out."""
    points = {
        name: [(b["foretold"], b["happened"]) for b in head["bins"] if b["happened"] > 0]
        for name, head in found.items()
    }
    points = {name: row for name, row in points.items() if row}
    every = [v for row in points.values() for pair in row for v in pair] or [0.1, 1.0]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    least, most = 10.0**low, 10.0**high

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * (SIZE - LEFT - RIGHT)

    def y(value: float) -> float:
        return SIZE - BOTTOM - (math.log10(value) - low) / (high - low) * (SIZE - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif" font-size="13" '
        'fill="#222222">',
        f'<rect width="{SIZE}" height="{SIZE}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="16">Foretold and happened, held back</text>',
    ]
    for power in range(low, high + 1):
        at = 10.0**power
        parts += [
            f'<line x1="{x(at):.1f}" y1="{y(least):.1f}" x2="{x(at):.1f}" y2="{y(most):.1f}" stroke="#e4e4e4"/>',
            f'<line x1="{x(least):.1f}" y1="{y(at):.1f}" x2="{x(most):.1f}" y2="{y(at):.1f}" stroke="#e4e4e4"/>',
            f'<text x="{x(at):.1f}" y="{SIZE - BOTTOM + 20}" text-anchor="middle">{at:g}</text>',
            f'<text x="{LEFT - 8}" y="{y(at) + 4:.1f}" text-anchor="end">{at:g}</text>',
        ]
    parts.append(
        f'<line x1="{x(least):.1f}" y1="{y(least):.1f}" x2="{x(most):.1f}" y2="{y(most):.1f}" '
        'stroke="#999999" stroke-dasharray="4 4"/>'
    )
    for number, (name, row) in enumerate(points.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(f):.1f},{y(h):.1f}" for f, h in row)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(f):.1f}" cy="{y(h):.1f}" r="4" fill="{colour}"/>' for f, h in row
        ]
        at_y = TOP + 18 + 20 * number
        parts.append(f'<circle cx="{LEFT + 16}" cy="{at_y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 28}" y="{at_y}">{name}</text>')
    parts.append(
        f'<text x="{(LEFT + SIZE - RIGHT) / 2:.1f}" y="{SIZE - 14}" text-anchor="middle">foretold probability</text>'
    )
    middle = (TOP + SIZE - BOTTOM) / 2
    parts.append(
        f'<text x="20" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 20 {middle:.1f})">'
        "share that happened</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
