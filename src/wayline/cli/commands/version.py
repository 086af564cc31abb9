"""``wayline version``."""

from __future__ import annotations

import wayline
from wayline.cli.options import AsJson
from wayline.cli.output import print_json, say


def version(as_json: AsJson = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": wayline.__version__})
    else:
        say(f"wayline {wayline.__version__}")
