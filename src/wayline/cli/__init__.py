"""The command line: one file a command; each is a few engine calls and their print-out."""

from wayline.cli.app import main

__all__ = ["main"]
