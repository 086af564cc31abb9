"""A small shop, served in this process or by a real server process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

import wayline
from server.served_shop import Server, StartServer, start_process
from wayline.server import create_app


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[wayline.Engine]:
    """An empty workspace: buying counts, now is the newest action, builds need no model."""
    config = {
        "actions": {"buy": 1.0},
        "time": {"clock": "log"},
        "embeddings": {"kind": "graph"},
    }
    engine = wayline.open(tmp_path / "shop", create=True, config=config)
    yield engine
    engine.close()


@pytest.fixture
def client(engine: wayline.Engine) -> Iterator[httpx.Client]:
    """The application over that workspace, without a socket."""
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start real server processes on free ports; all are gone at the end."""
    running: list[Server] = []

    def start(workspace: Path | None = None, **environment: str) -> Server:
        folder = workspace or tmp_path / f"served{len(running)}"
        if not folder.exists():
            wayline.open(folder, create=True).close()
        log = tmp_path / f"stderr{len(running)}"
        running.append(start_process(folder, log, **environment))
        return running[-1]

    yield start
    for server in running:
        server.process.kill()
        server.process.wait()
        if server.process.stdout is not None:
            server.process.stdout.close()
