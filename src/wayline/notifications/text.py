"""Texts from a catalogue and from people, made fit to stand in a message."""

from __future__ import annotations

import re
import unicodedata

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
# Controls (also what ends a line or a header), halves of surrogate pairs, and what turns the direction of a text round.
UNWANTED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+"
)
RIGHT_TO_LEFT = {"R", "AL"}
JOINER = "\u200d"


def clean(text: str) -> str:
    """One line without controls; emoji and every script stay as they are.

    >>> clean("Lamps\\r\\nBcc: x@example.org"), clean("\u202egnp.exe")
    ('Lamps Bcc: x@example.org', 'gnp.exe')
    """
    return " ".join(UNWANTED.sub(" ", text).split())


def isolate(text: str) -> str:
    """Keep a text that runs from right to left from reordering what stands beside it; others stay as they are."""
    if any(unicodedata.bidirectional(c) in RIGHT_TO_LEFT for c in text):
        return FIRST_STRONG_ISOLATE + text + POP_ISOLATE
    return text


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, at a word's end where there is one, and never within an emoji or an accent.

    >>> cut("Christmas decorations", 14), cut("Lamps", 14)
    ('Christmas…', 'Lamps')
    """
    if len(text) <= limit:
        return text
    room = limit - 1
    for _ in range(2):
        head = _whole_words(text, room)
        open_ = head.count(FIRST_STRONG_ISOLATE) - head.count(POP_ISOLATE)
        if len(head) + open_ <= limit - 1:
            break
        room = limit - 1 - open_
    return (head + POP_ISOLATE * open_ + "…")[:limit]


def _whole_words(text: str, room: int) -> str:
    room = max(room, 0)
    while room and _joined(text, room):
        room -= 1
    head = text[:room]
    if not text[room : room + 1].isspace():
        space = max(head.rfind(" "), head.rfind("\n"))
        head = head[:space] if space >= room // 2 else head
    return head.rstrip()


def _joined(text: str, at: int) -> bool:
    """Whether the character at a place belongs to the one before it."""
    after, before = text[at], text[at - 1]
    return (
        JOINER in (after, before)
        or unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or (_flag(after) and _flag(before))
    )


def _flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
