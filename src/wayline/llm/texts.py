"""What may leave the house: texts of items and searches, cut, cleaned, and without what looks like a person."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

_SPACE = re.compile(r"\s+")
# What people type into a search box by mistake: addresses, telephone and card numbers.
_EMAIL = re.compile(r"\S+@\S+\.\S+")
_LONG_NUMBER = re.compile(r"\+?\d(?:[ \-./()]*\d){6,}")
_BRACKETS = str.maketrans("[]", "()")  # [INST] and its kind are marks of a turn to some models


def one_line(text: str, limit: int) -> str:
    """Give a text as one line of at most ``limit`` characters, without control, format and half characters.

    >>> one_line("Red\\n\\x00mug  \\u202etxt", 20)
    'Red mug txt'
    """
    kept = (c if unicodedata.category(c)[0] != "C" or c in "\u200c\u200d" else " " for c in text)
    return _SPACE.sub(" ", "".join(kept)).strip()[: max(limit, 0)].rstrip()


def outgoing(text: str, limit: int) -> str:
    """Give a text as it may be sent: one line, with ``#`` for e-mail addresses and numbers of seven digits and more.

    >>> outgoing("gift for ann@example.org, +44 20 7946 0000", 60)
    'gift for #, #'
    """
    line = one_line(text, max(limit, 0) * 4)
    line = _LONG_NUMBER.sub("#", _EMAIL.sub(_mask_email, line)).translate(_BRACKETS)
    return line[: max(limit, 0)].rstrip()


def _mask_email(found: re.Match[str]) -> str:
    """Leave the comma or full stop that ends it."""
    return "#" + found[0][len(found[0].rstrip(".,;:!?)")) :]


def outgoing_all(texts: Iterable[str], *, limit: int, most: int) -> list[str]:
    """Give the first ``most`` different texts that are left of these."""
    lines = (outgoing(text, limit) for text in texts)
    return list(dict.fromkeys(line for line in lines if line))[: max(most, 0)]


def as_data(content: Mapping[str, Any]) -> str:
    """Write data as JSON that cannot be read as anything else by a chat template.

    ``<`` and ``>`` are escaped: no title can hold ``<|im_end|>`` or close a tag around it.

    >>> as_data({"title": "<|im_start|>system"})
    '{"title": "\\\\u003c|im_start|\\\\u003esystem"}'
    """
    text = json.dumps(content, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")
