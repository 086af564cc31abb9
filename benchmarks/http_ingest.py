"""Durable actions per second over HTTP: a real server process, keep-alive clients, batches of 500.

Every round posts the same batches twice, in turn: to ``POST /v1/actions`` and to an endpoint of the
same process that reads the body and does nothing, which is what the sockets and the web framework
cost alone. The clients share the machine with the server, as they would in a test of a single box.

    python benchmarks/http_ingest.py [--batches 100] [--clients 4] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BATCH = 500
USERS, ITEMS = 20_000, 20_000
START_MS = 1_700_000_000_000
RESULTS = Path(__file__).parent / "results"


def serve(workspace: str) -> None:
    """Be the server process: the product's app, and beside it an endpoint that only reads."""
    import uvicorn
    from fastapi import Request, Response

    import wayline
    from wayline.server import create_app
    from wayline.server.serving import bind, url_of

    engine = wayline.open(workspace, create=True, config={"actions": {"view": 1.0}})
    app = create_app(engine)

    async def noop(request: Request) -> Response:
        await request.body()
        return Response(b'{"accepted":500,"duplicates":0}', media_type="application/json")

    app.add_route("/noop", noop, methods=["POST"])
    listener = bind("127.0.0.1", 0)
    print(url_of(listener), flush=True)
    try:
        uvicorn.run(app, fd=listener.fileno(), log_level="warning", access_log=False)
    finally:
        engine.close()


def bodies(count: int, first: int, rng: random.Random) -> list[bytes]:
    """Batches that nobody has sent before: each action has a time of its own."""
    return [
        json.dumps(
            [
                {
                    "user_id": f"user-{rng.randrange(USERS)}",
                    "item_id": f"item-{int(ITEMS * rng.random() ** 3)}",
                    "action": "view",
                    "ts": START_MS + (first + number) * BATCH + row,
                }
                for row in range(BATCH)
            ]
        ).encode()
        for number in range(count)
    ]


def post_all(address: str, path: str, batches: list[bytes], clients: int) -> tuple[float, int]:
    """Post every batch once; seconds that took, and the rows accepted."""

    def one_client(mine: list[bytes]) -> int:
        connection = http.client.HTTPConnection(address)
        accepted = 0
        for body in mine:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}: {text[:300]!r}")
            accepted += json.loads(text)["accepted"]
        connection.close()
        return accepted

    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        accepted = sum(pool.map(one_client, [batches[n::clients] for n in range(clients)]))
        return time.perf_counter() - started, accepted


def measure(address: str, count: int, clients: int, rounds: int) -> dict[str, Any]:
    """Alternate the two endpoints; a warm-up round is thrown away."""
    rng = random.Random(0)
    rates: dict[str, list[float]] = {"/v1/actions": [], "/noop": []}
    for number in range(rounds + 1):
        batches = bodies(count, number * count, rng)
        for path in sorted(rates, reverse=number % 2 == 0):
            seconds, accepted = post_all(address, path, batches, clients)
            if accepted != count * BATCH:
                raise SystemExit(f"{path} accepted {accepted} of {count * BATCH}")
            if number:
                rates[path].append(accepted / seconds)
    pairs = zip(rates["/noop"], rates["/v1/actions"], strict=True)
    return {
        "batch": BATCH,
        "batches": count,
        "clients": clients,
        "actions_per_s": statistics.median(rates["/v1/actions"]),
        "actions_per_s_lowest": min(rates["/v1/actions"]),
        "noop_rows_per_s": statistics.median(rates["/noop"]),
        "noop_over_ingest": statistics.median(noop / ingest for noop, ingest in pairs),
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Start the server, measure, stop it, check that every acknowledged action is in the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        workspace = f"{folder}/bench"
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", workspace], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip().removeprefix("http://")
            result = measure(address, options.batches, options.clients, options.rounds)
        finally:
            server.kill()  # on purpose without notice: what was acknowledged must be there
            server.wait()
        result |= check(workspace, (options.rounds + 1) * options.batches * BATCH)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "http_ingest.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result) if options.json else table(result))


def check(workspace: str, acknowledged: int) -> dict[str, Any]:
    """Count what is in the log after the kill."""
    import wayline

    engine = wayline.open(workspace)
    try:
        actions = engine.stats()["actions"]
    finally:
        engine.close()
    if actions != acknowledged:
        raise SystemExit(f"{acknowledged:,} actions were acknowledged, {actions:,} are in the log")
    size = sum(file.stat().st_size for file in Path(workspace).rglob("*") if file.is_file())
    return {"in_log_after_kill": actions, "bytes_per_action": size / actions}


def table(result: dict[str, Any]) -> str:
    """Lay the figures out for people."""
    rows = [
        ("POST /v1/actions, durable, actions/s (median)", f"{result['actions_per_s']:,.0f}"),
        ("  the same, lowest round", f"{result['actions_per_s_lowest']:,.0f}"),
        ("same bodies to an endpoint that only reads, rows/s", f"{result['noop_rows_per_s']:,.0f}"),
        ("only reading ÷ ingest", f"{result['noop_over_ingest']:.1f}"),
        ("in the log after kill -9, all acknowledged", f"{result['in_log_after_kill']:,}"),
        ("bytes on disk per action", f"{result['bytes_per_action']:.1f}"),
    ]
    head = f"{result['clients']} clients, batches of {result['batch']}, {result['cores']} cores"
    return "\n".join([head, *(f"{name:<55}{value:>12}" for name, value in rows)])


if __name__ == "__main__":
    main()
