"""Reading a completion: every step of it may be missing, and then it is no answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wayline.errors import shorten
from wayline.llm.prompts import A, Answer, Outcome, Prompt, Refused
from wayline.llm.spending import estimate_tokens
from wayline.llm.texts import one_line


@dataclass(frozen=True, slots=True)
class Completion:
    """What stands in a completion: its text or why there is none, and the tokens it says it took."""

    content: str | None
    refused: Refused | None
    tokens: int


def read_completion(body: bytes, sent_bytes: int) -> Completion:
    """Take a completion apart; tokens are estimated where it does not say them."""
    estimate = estimate_tokens(sent_bytes + len(body))
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return Completion(None, Refused("protocol", "the body is not JSON"), estimate)
    if not isinstance(content, dict):
        return Completion(None, Refused("protocol", "the body is no object"), estimate)
    tokens = _tokens(content.get("usage"), estimate)
    text, refused = _text(content.get("choices"))
    return Completion(text, refused, tokens)


def _tokens(usage: Any, estimate: int) -> int:
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    if isinstance(total, bool) or not isinstance(total, int) or total <= 0:
        return estimate
    return total


def _text(choices: Any) -> tuple[str | None, Refused | None]:
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return None, Refused("protocol", "no choices")
    if message.get("refusal"):
        return None, Refused("refusal", one_line(str(message["refusal"]), 120))
    if choice.get("finish_reason") == "content_filter":
        return None, Refused("refusal", "content_filter")
    if choice.get("finish_reason") == "length":
        return None, Refused("cut_off", "raise llm.answer_tokens")
    text = message.get("content")
    if not isinstance(text, str):
        return None, Refused("protocol", "a message without a text")
    return text, None


def validated(prompt: Prompt[A], text: str) -> Outcome[A]:
    """Hold an answer's text to what it has to be."""
    try:
        return Answer(prompt.answer.model_validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            return Refused("not_json", shorten(one_line(text, 200)))
        where = ".".join(str(part) for part in first["loc"])
        return Refused("schema", one_line(f"{where}: {first['msg']}", 120))
