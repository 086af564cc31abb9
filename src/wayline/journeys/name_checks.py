"""Whether a name may be said to a person: short, plain, clean, in the right script, and about their journey."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from wayline.errors import FileProblemError
from wayline.llm.texts import one_line
from wayline.schema import FloatMatrix

BLOCKED_TERMS = "blocked_terms.txt"
MAX_WORDS = 6
MAX_LENGTH = 40  # characters
NEAR_ENOUGH = 0.35  # cosine of sentence vectors, name to keyword; chosen, not published

Embed = Callable[[Sequence[str]], FloatMatrix]
"""Gives unit vectors [N, D] of texts."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LINK = re.compile(r"://|www\.|[^\W_]\.[^\W\d_]{2,}|\w@\w", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d(?:[ .\-]?\d){5,}")
_PUNCTUATION = frozenset(" '’-–&,.:+!")
_QUOTES = "\"'“”„«»‘’` "
_FUNCTION_WORDS = frozenset(
    "all and are best das der die für for from les mit new our the und une you your with".split()  # noqa: SIM905 - plainer
)
_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})
_LETTERS_FOR_DIGITS = str.maketrans("013457@$!", "oieastasi")


def load_blocked_terms(workspace: Path | None = None) -> tuple[str, ...]:
    """Give the packaged terms, and those of ``blocked_terms.txt`` in a workspace: one a line, ``#`` begins a comment.

    Raises
    ------
    FileProblemError
        If the workspace's file cannot be read as UTF-8.
    """
    text = files("wayline.journeys").joinpath(BLOCKED_TERMS).read_text("utf-8")
    own = None if workspace is None else workspace / BLOCKED_TERMS
    if own is not None and own.exists():
        try:
            text += "\n" + own.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise FileProblemError(
                f"{BLOCKED_TERMS} of the workspace cannot be read ({type(error).__name__}): save it as UTF-8 text."
            ) from None
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))


@dataclass(frozen=True, slots=True)
class NameChecks:
    """The rules for names.

    ``blocked_terms`` are matched as whole words, whatever their case, accents, plurals, digits for letters, or blanks
    between the letters. With ``any_script`` a name may be in another script than what it is about.
    """

    blocked_terms: Sequence[str]
    max_words: int = MAX_WORDS
    max_length: int = MAX_LENGTH
    any_script: bool = False

    def problem(self, name: str, about: Sequence[str]) -> str | None:
        """Say in a word why a name cannot be used; None if it can.

        Parameters
        ----------
        name : str
            As ``tidy`` gives it.
        about : sequence of str
            The keywords and titles that it is about.

        Returns
        -------
        str or None
            "empty", "too_long", "too_many_words", "link", "characters", "number", "script" or "blocked".
        """
        broken = {
            "empty": not any(c.isalpha() for c in name),
            "too_long": len(name) > self.max_length,
            "too_many_words": len(name.split()) > self.max_words,
            "link": _LINK.search(name),
            "characters": not _is_plain(name),
            "number": _LONG_NUMBER.search(name),
            "script": not self._fits_script(name, about),
            "blocked": self.blocked(name),
        }
        return next((word for word, found in broken.items() if found), None)

    def _fits_script(self, name: str, about: Sequence[str]) -> bool:
        """No word mixes scripts, as look-alike letters do; and each script is one of the texts'."""
        for word in name.split():
            scripts = _scripts(word)
            if len(scripts) > 1 and not scripts <= _EAST_ASIAN:
                return False
        known = _scripts(" ".join(about))
        known |= _EAST_ASIAN if known & _EAST_ASIAN else set()
        return self.any_script or _scripts(name) <= known

    def blocked(self, text: str) -> bool:
        """Whether a text holds a blocked term."""
        pattern = _pattern(tuple(self.blocked_terms))
        read = f" {_spelled(text)} "
        digits_as_letters = f" {_spelled(text.translate(_LETTERS_FOR_DIGITS))} "
        return any(map(pattern.search, (read, _joined(read), digits_as_letters)))


@lru_cache(maxsize=8)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the terms as whole words; of no terms, what nothing holds."""
    plain = sorted({re.escape(_spelled(term)) for term in terms} - {""})
    return re.compile(rf" (?:{'|'.join(plain)})(?:s|es)? " if plain else r"(?!)")


def tidy(name: str) -> str:
    """Give a name as it is shown: one line, no quotes or full stop around it, a capital first letter, no shouting.

    Control and format characters are kept where they stand inside, so that the checks see them.

    >>> tidy(' "HALLOWEEN party."\\n'), tidy("GARDEN PARTY"), tidy("LEGO and trains")
    ('HALLOWEEN party', 'Garden party', 'LEGO and trains')
    """
    line = unicodedata.normalize("NFC", re.sub(" +", " ", name)).strip().strip(_QUOTES)
    line = line.removesuffix(".").strip(_QUOTES)
    if line.isupper() and len(line) > 4:
        line = line.lower()
    return line[:1].upper() + line[1:]


def related(name: str, about: Sequence[str], embed: Embed | None = None) -> bool:
    """Whether a name has to do with these texts: a word of the same stem, or, asked of ``embed``, a near meaning."""
    words = _tokens(name)
    known = {token for text in about for token in _tokens(text)}
    if any(_same_stem(a, b) for a in words for b in known):
        return True
    if embed is None or not about:
        return False
    vectors = np.asarray(embed([name, *about]))
    return bool((vectors[1:] @ vectors[0]).max() >= NEAR_ENOUGH)


def first_good(
    names: Iterable[str],
    checks: NameChecks,
    about: Sequence[str],
    embed: Embed | None = None,
) -> tuple[list[str], str]:
    """Give the different names that pass, in order, and why the first one that did not was refused."""
    good: dict[str, str] = {}
    why = ""
    for name in names:
        shown = tidy(name)
        problem = checks.problem(shown, about)
        if problem is None and not related(shown, about, embed):
            problem = "unrelated"
        if problem is None:
            good.setdefault(shown.casefold(), shown)
        why = why or problem or ""
    return list(good.values()), why


def _is_plain(name: str) -> bool:
    """Letters with at most two marks each, digits, and the punctuation of a heading."""
    if re.search(r"[^\w\s]{2}", name):
        return False
    marks = 0
    for c in name:
        kind = unicodedata.category(c)[0]
        marks = marks + 1 if kind == "M" else 0
        joiner = c in "\u200c\u200d"  # Persian and Indic words need them
        if marks > 3 or not (kind in "LM" or c.isdecimal() or c in _PUNCTUATION or joiner):
            return False
    return True


def _scripts(text: str) -> set[str]:
    """The scripts of a text's letters, by the first word of each letter's name."""
    found = {unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha()}
    found = {"LATIN" if name in ("FULLWIDTH", "MASCULINE", "FEMININE") else name for name in found}
    return {"KATAKANA" if name.startswith("KATAKANA") else name for name in found}


def _spelled(text: str) -> str:
    """Lower case, no accents, single blanks: how two spellings of a term become one."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in folded if unicodedata.category(c)[0] != "M")
    return " ".join(re.findall(r"[^\W_]+", kept.replace("'", "").replace("’", "")))


def _joined(text: str) -> str:
    """Letters that stand alone, put together: ``s h i t``."""
    return re.sub(r"(?<= )(\w(?: \w){2,})(?= )", lambda found: found[0].replace(" ", ""), text)


def _tokens(text: str) -> set[str]:
    """Words of three letters and more; of scripts without blanks between words, pairs of letters."""
    found: set[str] = set()
    for word in _WORD.findall(_spelled_keeping_marks(text)):
        if _scripts(word) & (_EAST_ASIAN | {"THAI", "LAO", "KHMER", "MYANMAR"}):
            found |= {word[i : i + 2] for i in range(max(len(word) - 1, 1))}
        elif len(word) >= 3 and word not in _FUNCTION_WORDS:
            found.add(word)
    return found


def _spelled_keeping_marks(text: str) -> str:
    return unicodedata.normalize("NFKC", one_line(text, 1000)).casefold()


def _same_stem(a: str, b: str) -> bool:
    """Equal but for an ending: decoration and decorating, baby and babies."""
    if a == b:
        return True
    if abs(len(a) - len(b)) > 3 or len(a) < 3 or len(b) < 3:
        return False
    shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    shared = min(len(a), len(b)) if shared is None else shared
    return shared >= max(3, min(len(a), len(b)) - 2)
