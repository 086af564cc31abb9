"""A server that is told to stop ends, whatever its tasks make of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from wayline.server.serving import end_tasks


async def waits_in_a_loop(woken: asyncio.Event) -> None:
    """Wait as the pages of the studio do for something to send."""
    while True:
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(woken.wait(), timeout=1.0)
            woken.clear()
        except asyncio.CancelledError:
            break


@pytest.mark.parametrize("steps", range(5))
def test_a_cancellation_that_comes_with_what_is_waited_for_is_not_lost(steps: int) -> None:
    async def serve() -> asyncio.Task[None]:
        woken = asyncio.Event()
        task = asyncio.create_task(waits_in_a_loop(woken))
        await asyncio.sleep(0.01)
        woken.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        await end_tasks(5.0)
        return task

    assert asyncio.run(serve()).done()


def test_what_does_not_end_is_named_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn(ended: asyncio.Event) -> None:
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()

    async def serve() -> None:
        ended = asyncio.Event()
        task = asyncio.create_task(stubborn(ended))
        await asyncio.sleep(0)
        with caplog.at_level(logging.WARNING):
            await end_tasks(0.3)
        assert not task.done()
        ended.set()

    asyncio.run(serve())
    assert "stubborn" in caplog.text
