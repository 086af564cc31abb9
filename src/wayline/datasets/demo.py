"""The demo's data: a year of a real gift shop, inside the package, so that it needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DemoData:
    """Where the files are, the settings that suit them, and whom to thank."""

    actions: Path
    items: Path
    config: dict[str, Any]
    credit: str


def online_retail() -> DemoData:
    """UCI Online Retail (D. Chen 2012, CC BY 4.0): 399,689 purchases and returns, 3,676 products.

    Columns: user_id, item_id str, ts int64 (UTC milliseconds), action (``buy`` or ``return``),
    value (quantity); items have a title.

    Examples
    --------
    >>> data = online_retail()
    >>> data.actions.name, data.config["actions"]["return"], data.credit.split(",")[0]
    ('actions.parquet', -1.0, 'Online Retail')
    """
    # A wheel is unpacked when it is installed, so the resources are files with a path.
    folder = Path(str(files("wayline.datasets").joinpath("files", "online-retail")))
    config = {"actions": {"buy": 1.0, "return": -1.0}, "time": {"clock": "log"}}
    credit = (folder / "CREDIT.txt").read_text("utf-8")
    return DemoData(folder / "actions.parquet", folder / "items.parquet", config, credit)
