"""Phrases of texts: runs of words, and the words and neighbouring words of each that may become keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import unescape

from wayline.interests.words import FUNCTION_WORDS, TOKEN, WORD, stem

Key = tuple[str, ...]
"""A phrase by the stems of its words: one key for "Cake cases" and "cake case"."""

LONGEST = 3  # words of a phrase
TITLE_WORDS = 16
DESCRIPTION_WORDS = 30
_NOT_TEXT = re.compile(r"<[^<>]{1,200}>|(?:https?://|www\.)\S+|\S+@\S+\.\S+")
_PARTS = re.compile(r"\s*[|>]\s*")


@dataclass(frozen=True, slots=True)
class Run:
    """Words that nothing separates: their stems, and as they were written."""

    key: Key
    tokens: tuple[str, ...]


def plain(text: str | None) -> str:
    """Take markup, links and addresses out of a text.

    >>> plain("A <b>small</b> tool, see https://example.org/x &amp; more")
    'A small tool, see & more'
    """
    return " ".join(_NOT_TEXT.sub(" ", unescape(text)).split()) if text else ""


def runs_of(text: str, most: int) -> list[Run]:
    """Cut a text into runs of words that nothing separates.

    Numbers, codes and the function words of a few languages end a run.

    >>> [run.key for run in runs_of("SET OF 6 TEA TIME BAKING CASES", 16)]
    [('set',), ('tea', 'time', 'baking', 'case')]
    """
    runs: list[Run] = []
    words: list[str] = []
    for token in [*TOKEN.findall(text)[:most], ""]:
        if token and token.lower() not in FUNCTION_WORDS and WORD.fullmatch(token):
            words.append(token)
        elif words:
            runs.append(Run(tuple(stem(word) for word in words), tuple(words)))
            words = []
    return runs


def phrases_of(runs: Iterable[Run]) -> dict[Key, str]:
    """Give every run of one to three different words, and how it is written first.

    >>> sorted(phrases_of(runs_of("Tea cups", 9)).items())
    [(('cup',), 'cups'), (('tea',), 'Tea'), (('tea', 'cup'), 'Tea cups')]
    """
    out: dict[Key, str] = {}
    for run in runs:
        for length in range(1, LONGEST + 1):
            for at in range(len(run.key) - length + 1):
                key = run.key[at : at + length]
                if len(set(key)) == length:
                    out.setdefault(key, " ".join(run.tokens[at : at + length]))
    return out


def whole_key(text: str) -> Key:
    """Give the key of a text that is a phrase as a whole: a tag, a category, a search, a board.

    >>> whole_key("Sci-Fi films")
    ('sci-fi', 'film')
    >>> whole_key("80's")
    ('80',)
    """
    return tuple(stem(token) for token in TOKEN.findall(plain(text)))


def parts_of(category: str | None, tags: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Give the categories and tags of an item, one text each.

    >>> parts_of("Home|Candles &gt; <b>Tea lights</b>", ["glass ", ""])
    (['Home', 'Candles', 'Tea lights'], ['glass'])
    """
    categories = [part.strip() for part in _PARTS.split(plain(category))]
    own = [" ".join(plain(tag).split()) for tag in tags or ()]
    return [c for c in categories if c], [t for t in own if t]
