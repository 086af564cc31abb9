"""Install Debian's chromium, which the studio's tests drive; say so and go on where that cannot be done.

Without it those tests are skipped by name. Nothing is downloaded when tests run.
"""

from __future__ import annotations

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Install it where it is missing and may be installed."""
    if any(shutil.which(name) for name in NAMES):
        return
    if os.environ.get("WAYLINE_NO_BROWSER"):
        print("WAYLINE_NO_BROWSER is set: tests in a browser will be skipped.")
        return
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(
            "No chromium here, and it is for root to install: tests in a browser will be skipped."
        )
        return
    unasked = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=unasked, check=False)
    done = subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
        env=unasked, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        print("chromium could not be installed: tests in a browser will be skipped.")


if __name__ == "__main__":
    main()
