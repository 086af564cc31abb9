"""Run as a program: find everybody's journeys and be killed after so many chunks, as a power cut would do."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from many_people import found_by


def main(folder: str, after: str) -> None:
    """Kill this process when ``after`` people are done."""

    def progress(done: int, _total: int) -> None:
        if done >= int(after):
            os.kill(os.getpid(), signal.SIGKILL)

    found_by(Path(folder), progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
