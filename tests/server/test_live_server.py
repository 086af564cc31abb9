"""A real server process on a real socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import wayline
from server.served_shop import StartServer, shop_actions, shop_items
from wayline.cli.app import run
from wayline.server.serving import bind


def test_actions_over_the_wire_give_a_feed_and_survive_a_kill(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
        assert client.post("/v1/items", json=shop_items()).json()["accepted"] == 30
        assert client.post("/v1/actions", json=shop_actions()).json()["accepted"] == 160
        assert len(client.get("/v1/users/u3/feed?limit=4").json()["items"]) == 4
        assert client.get("/health/ready").status_code == 200
    server.process.kill()
    server.process.wait()
    with start_server(server.workspace).client() as client:
        assert client.post("/v1/actions", json=shop_actions()).json()["duplicates"] == 160
        assert client.get("/health/ready").status_code == 200


def test_many_clients_at_once_lose_nothing_and_read_their_own_writes(
    start_server: StartServer,
) -> None:
    server = start_server()
    with server.client() as client:
        client.post("/v1/actions", json=shop_actions())
        client.get("/v1/users/u1/feed")

    def one_client(number: int) -> None:
        with server.client() as client:
            for step in range(10):
                row = {
                    "user_id": f"c{number}",
                    "item_id": f"i{step}",
                    "action": "buy",
                    "ts": 1_701_000_000 + step,
                }
                assert client.post("/v1/actions", json=[row]).json()["accepted"] == 1
                newest = client.get(f"/v1/users/c{number}/actions?limit=1").json()["actions"]
                assert newest[0]["item_id"] == f"i{step}"
                feed = client.get(f"/v1/users/c{number}/feed?limit=30").json()
                assert f"i{step}" not in [item["item_id"] for item in feed["items"]]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one_client, range(8)))
    with server.client() as client:
        assert "wayline_actions 240.0" in client.get("/metrics").text.splitlines()


def test_a_body_over_the_limit_is_refused_and_not_kept(start_server: StartServer) -> None:
    server = start_server(WAYLINE_SERVER__MAX_BODY_MB="1")

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 100_000

    with server.client() as client:
        for content in (endless(), b" " * 100_000_000):
            response = client.post("/v1/actions", content=content)
            assert response.status_code == 413
            assert response.json()["error"]["code"] == "too_large"
        assert client.post("/v1/actions", json=shop_actions()).json()["accepted"] == 160
        memory = next(
            float(line.split()[1])
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("process_resident_memory_bytes")
        )
    assert memory < 1e9


def test_keys_are_asked_for_over_the_wire(start_server: StartServer) -> None:
    server = start_server(WAYLINE_SERVER__API_KEYS='["opener"]')
    with server.client() as client:
        refused = client.post("/v1/actions", json=shop_actions())
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"]
    with server.client(**{"X-API-Key": "opener"}) as client:
        assert client.post("/v1/actions", json=shop_actions()).json()["accepted"] == 160


def test_broken_and_slow_clients_do_not_stop_the_server(start_server: StartServer) -> None:
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    for line in (b"nonsense\r\n\r\n", b"POST /v1/actions HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(line)
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection((host, int(port)), timeout=10) as raw:  # leaves half-way
        raw.sendall(b'POST /v1/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[{"')
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        assert httpx.get(f"{server.url}/health/live", timeout=30).status_code == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_server_in_order(start_server: StartServer, how: int) -> None:
    server = start_server()
    with server.client() as client:
        client.post("/v1/actions", json=shop_actions())
        client.get("/v1/users/u1/feed")
        server.process.send_signal(how)
        assert server.process.wait(timeout=30) == 0
    engine = wayline.open(server.workspace)
    try:
        assert engine.doctor() == []
        assert engine.stats()["actions"] == 160
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (["--host", "0.0.0.0"], "server.api_keys"),
        (["--host", "no such host"], "127.0.0.1"),
        (["--host", "203.0.113.9"], "127.0.0.1"),
        (["--port", "TAKEN"], "--port"),
        (["--port", "70000"], "--port"),
    ],
)
def test_an_address_that_cannot_be_served_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], cure: str
) -> None:
    wayline.open(tmp_path / "shop", create=True).close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = [port if option == "TAKEN" else option for option in options]
        code = run(["serve", "-w", str(tmp_path / "shop"), *arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert len(error.splitlines()) == 1
    assert cure in error


def test_an_answer_does_not_wait_for_the_client_s_acknowledgement() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
