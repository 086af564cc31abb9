"""A real browser, on a real server process, over a small built workspace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from studio.studio_shop import CONFIG, environment, make

Settings = Mapping[str, Mapping[str, Any]]
SHOTS = Path(__file__).resolve().parents[2] / "build" / "studio-screenshots"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built workspace; copy it to write to it."""
    return make(tmp_path_factory.mktemp("studio") / "shop")


class Servers:
    """Serves workspaces from processes of their own."""

    def __init__(self, logs: pytest.TempPathFactory) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[str]] = {}

    def __call__(
        self, workspace: Path, *, port: int = 0, settings: Settings = CONFIG, **more: str
    ) -> str:
        """Start one, with settings and ``more`` in its environment; gives its URL."""
        told = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        log = self._logs.mktemp("log") / "stderr"
        command = [sys.executable, "-m", "wayline", "serve", "-w", str(workspace), "--json"]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "--port", str(port)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=told | environment(settings) | more,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        url = str(json.loads(line)["url"])
        self._running[url] = process
        return url

    def stop(self, url: str) -> None:
        """Stop one."""
        process = self._running.pop(url)
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()

    def stop_all(self) -> None:
        """Stop all."""
        for url in list(self._running):
            self.stop(url)


StartServer = Servers


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Start servers, that are stopped with the module's last test."""
    servers = Servers(tmp_path_factory)
    yield servers
    servers.stop_all()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's chromium."""
    if CHROMIUM is None:
        pytest.skip("browser: no chromium here; scripts/install_browser.py installs it as root")
    playwright = pytest.importorskip("playwright.sync_api", reason="browser: no playwright here")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open pages in contexts of their own; at the end none may have complained, or asked another host."""
    complaints: list[str] = []
    contexts = []

    def opened(url: str, width: int = 1400, scheme: str = "light") -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a machine may have more to do than this test
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(
                    (url.partition("/studio")[0], "data:", "ws://127.0.0.1", "blob:")
                )
                else complaints.append(f"asked {asked.url}")
            ),
        )
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where pictures of pages go: no part of the sources."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS
