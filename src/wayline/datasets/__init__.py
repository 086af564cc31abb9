"""Data to try wayline on: a shop's log inside the package, and loaders for public sets by path."""

from __future__ import annotations

from wayline.datasets.demo import DemoData, online_retail
from wayline.datasets.loaders import KINDS, Loaded, load

__all__ = ["KINDS", "DemoData", "Loaded", "load", "online_retail"]
