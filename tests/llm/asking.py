"""A client of the stub whose waits are written down instead of waited for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llm.openai_stub import KEY, OpenAiStub
from wayline.config import LlmConfig
from wayline.llm import LlmClient, Prompt
from wayline.llm.prompts import AnswerModel

NOW_MS = 1_700_000_000_000


class Colour(AnswerModel):
    """What the questions of these tests want."""

    colour: str
    shades: list[int]


RED = {"colour": "red", "shades": [1, 2]}


def prompt(thing: str = "rose", version: int = 1) -> Prompt[Colour]:
    return Prompt("colour", version, "Which colour has it?", {"thing": thing}, Colour)


def prompts(number: int) -> list[Prompt[Colour]]:
    return [prompt(f"thing {n}") for n in range(number)]


def config_of(stub: OpenAiStub, **settings: Any) -> LlmConfig:
    defaults = {"base_url": stub.base_url, "model": "stub", "api_key": KEY, "timeout_s": 20.0}
    return LlmConfig(**defaults | settings)


@contextmanager
def serving() -> Iterator[OpenAiStub]:
    stub = OpenAiStub()
    try:
        yield stub
    finally:
        stub.close()


@contextmanager
def asking(
    stub: OpenAiStub, waits: list[float] | None = None, **settings: Any
) -> Iterator[LlmClient]:
    waited = [] if waits is None else waits
    client = LlmClient(
        config_of(stub, **settings),
        sleep=waited.append,
        clock=lambda: NOW_MS,
        rng=random.Random(0),
    )
    with client:
        yield client
