"""A sender killed at every step: in the end each person was told once, and each key delivered once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_journeys import Shop
from notify_child import PEOPLE, STEPS, settings
from receivers import Hooks, Mailbox, mail_server, webhook
from test_delivery import lines

from wayline.errors import WorkspaceLockedError
from wayline.notifications.delivery.channel import open_channel
from wayline.storage import open_store

HERE = Path(__file__).parent


@contextmanager
def child(folder: Path, channel: str, address: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "notify_child.py"), str(folder), channel, address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with process:
            yield process
    finally:
        process.kill()


def go_to(process: subprocess.Popen[str], step: str, times: int = 1) -> None:
    """Let a child go on until it stands before a step for the n-th time."""
    assert process.stdin is not None
    assert process.stdout is not None
    while True:
        said = process.stdout.readline().strip()
        assert said, "the child ended"
        times -= said == step
        if not times:
            return
        process.stdin.write("\n")
        process.stdin.flush()


def let_go(process: subprocess.Popen[str]) -> None:
    """Give leave to pass one step."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait() == -9


def run_to_the_end(folder: Path, channel: str, address: str) -> int:
    """A run without a crash, in this process; gives how many it sent."""
    config = settings(channel, address)
    with open_store(folder / "wayline.db") as store:
        shop = Shop(store, folder, PEOPLE)
        sent = shop.send(open_channel(config, folder), config).sent
        assert shop.send(open_channel(config, folder), config).sent == 0
        assert store.count_notifications() == {
            "queued": 0, "sending": 0, "sent": len(PEOPLE), "failed": 0,
        }  # fmt: skip
        for user in PEOPLE:
            assert shop.states(user) == [("sent", None)]
        assert store.check() == []
    return sent


def kill_at_every_step(folder: Path, channel: str, address: str, *more: str) -> None:
    with open_store(folder / "wayline.db", create=True) as store:
        Shop(store, folder, PEOPLE)
    for step in (*STEPS, *more):
        with child(folder, channel, address) as process:
            go_to(process, step, times=1 if "queue" in step else 2)
            kill(process)


def test_the_file_has_each_notification_once_whatever_was_killed(tmp_path: Path) -> None:
    kill_at_every_step(tmp_path, "file", "-", "half a line")
    path = tmp_path / "notifications.jsonl"
    assert not path.read_bytes().endswith(b"\n")  # the torn line is still there
    assert run_to_the_end(tmp_path, "file", "-") > 0
    assert len(lines(path)) == len(set(lines(path))) == len(PEOPLE)


def test_the_mailbox_has_each_mail_once_whatever_was_killed(tmp_path: Path) -> None:
    with mail_server() as (box, port):
        kill_at_every_step(tmp_path, "smtp", str(port))
        box.trouble = [None, "KEPT hang"]  # killed while the server has it and has not said so
        _kill_while_it_waits(tmp_path, "smtp", str(port), box, 2)
        box.trouble = []
        run_to_the_end(tmp_path, "smtp", str(port))
        assert sorted(box.receivers) == sorted(PEOPLE)
        assert len(box.kept) == len(PEOPLE)
        _each_at_most_twice(box.arrived)


def test_the_hook_has_each_key_once_whatever_was_killed(tmp_path: Path) -> None:
    with webhook() as (hooks, url):
        kill_at_every_step(tmp_path, "webhook", url)
        hooks.trouble = [None, "kept silent"]
        _kill_while_it_waits(tmp_path, "webhook", url, hooks, 2)
        hooks.trouble = []
        run_to_the_end(tmp_path, "webhook", url)
        assert sorted(body["user_id"] for body in hooks.kept.values()) == sorted(PEOPLE)
        assert len(hooks.kept) == len(PEOPLE)
        _each_at_most_twice(hooks.arrived)


def _kill_while_it_waits(
    folder: Path, channel: str, address: str, receiver: Mailbox | Hooks, deliveries: int
) -> None:
    while receiver.came.acquire(blocking=False):
        pass  # what came before
    with child(folder, channel, address) as process:
        go_to(process, "before deliver")
        for _ in range(deliveries - 1):
            let_go(process)
            assert receiver.came.acquire(timeout=60)
            go_to(process, "before deliver")
        let_go(process)
        assert receiver.came.acquire(timeout=60)
        kill(process)


def _each_at_most_twice(arrived: Counter[str]) -> None:
    """Only what arrived before a kill came again, once, under its old key."""
    again = [key for key, times in arrived.items() if times > 1]
    assert 1 <= len(again) <= 4
    assert max(arrived.values()) == 2


def test_of_two_senders_at_once_one_works_and_the_other_is_told(tmp_path: Path) -> None:
    with open_store(tmp_path / "wayline.db", create=True) as store:
        shop = Shop(store, tmp_path, PEOPLE)
        with child(tmp_path, "file", "-") as process:
            go_to(process, "after sending", times=2)
            with pytest.raises(WorkspaceLockedError, match=f"delivery .*process {process.pid}"):
                shop.send()
            assert len(shop.plan().planned) == 0  # a dry run may look meanwhile
            kill(process)
        assert run_to_the_end(tmp_path, "file", "-") == len(PEOPLE) - 1
    assert len(set(lines(tmp_path / "notifications.jsonl"))) == len(PEOPLE)
