"""A real browser, on a real server process, over a small built workspace."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from studio.studio_shop import CONFIG, environment, make

Settings = Mapping[str, Mapping[str, Any]]
SHOTS = Path(__file__).resolve().parents[2] / "build" / "studio-screenshots"
PATIENCE_MS = 60_000  # a machine may have more to do than this test
OUTCOMES = pytest.StashKey[dict[str, pytest.TestReport]]()
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def expect(what: Any) -> Any:
    """Playwright's assertions of a page or of what is on it: asked again until they hold, or patience ends.

    For what is to come; what must never be there is asserted as it is.
    """
    from playwright.sync_api import expect as holds

    holds.set_options(timeout=PATIENCE_MS)
    return holds(what)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built workspace; copy it to write to it."""
    return make(tmp_path_factory.mktemp("studio") / "shop")


@pytest.fixture(scope="session")
def served(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for servers to open, so that what tests copy is in nobody's hands meanwhile."""
    return Path(shutil.copytree(shop, tmp_path_factory.mktemp("served") / "shop"))


class Servers:
    """Serves workspaces from processes of their own."""

    def __init__(self, logs: pytest.TempPathFactory) -> None:
        self._logs = logs
        self._running: dict[str, tuple[subprocess.Popen[str], Path]] = {}

    def __call__(
        self, workspace: Path, *, port: int = 0, settings: Settings = CONFIG, **more: str
    ) -> str:
        """Start one, with settings and ``more`` in its environment; gives its URL."""
        told = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        told |= {"PYTHONFAULTHANDLER": "1"}  # see ``stop``
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
        self._running[url] = process, log
        return url

    def stop(self, url: str) -> None:
        """Stop one; where it does not end, the failure says what each of its threads was at."""
        process, log = self._running.pop(url)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait(30)
            raise AssertionError(f"The server of {url} did not stop.\n{log.read_text()}") from None
        finally:
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """Leave the outcome where ``open_page`` finds it."""
    report = yield
    item.stash.setdefault(OUTCOMES, {})[report.when] = report
    return report


def _tell_what_stands_on(page: Any, shot: Path) -> None:
    """Say it beside the failure: where this runs, nobody may be there to look."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    print(f"--- {page.url} ({shot.name})\n{page.locator('body').inner_text(timeout=5000)[:3000]}")
    page.screenshot(path=shot, full_page=True, timeout=5000)


@pytest.fixture
def open_page(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Open pages in contexts of their own; at the end none may have complained, or asked another host."""
    complaints: list[str] = []
    contexts = []

    def opened(url: str, width: int = 1400, scheme: str = "light") -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
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
    called = request.node.stash.get(OUTCOMES, {}).get("call")
    if called is not None and called.failed:
        name = re.sub(r"\W+", "-", request.node.name)
        for n, page in enumerate(page for context in contexts for page in context.pages):
            _tell_what_stands_on(page, SHOTS / f"failed-{name}-{n}.png")
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where pictures of pages go: no part of the sources."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS
