"""What people on a journey may turn to next, by a language model: offline, for everybody the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wayline.journeys.name_checks import MAX_LENGTH, MAX_WORDS, Embed, NameChecks, tidy
from wayline.llm import AnswerCache, LlmClient, Outcome, Prompt, Refused
from wayline.llm.client import OnProgress
from wayline.llm.prompts import AnswerModel
from wayline.llm.texts import outgoing, outgoing_all

VERSION = 1
KEYWORDS, KEYWORD_LENGTH = 8, 60
MOST = 8
NOT_FAR = (
    0.15  # cosine, name to related name; below it is about something else. Chosen, not published
)
THE_SAME = 0.95  # above it is the same journey in other words

SYSTEM = (
    "You get the name of a journey (what somebody is busy with: planning a garden party, say) and its keywords. Give "
    "up to {most} other journeys that people on this one are often on as well, or come to next, the likeliest first. "
    "Each is a heading of two to four words and at most {length} characters, begins with one capital letter, and has "
    "no brand, number, emoji, address, quotes or full stop. It says nothing about who people are, their health, faith "
    "or troubles. {language} "
    'Answer with JSON: {{"related": ["Summer drinks", "Outdoor lighting"]}}.'
)


class RelatedJourneys(AnswerModel):
    """What the model has to answer."""

    related: list[str]


def related_journeys(
    keywords: Mapping[str, Sequence[str]],
    client: LlmClient | None,
    *,
    cache: AnswerCache | None = None,
    blocked_terms: Sequence[str],
    max_words: int = MAX_WORDS,
    max_length: int = MAX_LENGTH,
    most: int = MOST,
    language: str = "",
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, list[str]]:
    """Give each journey's related ones, the likeliest first; a journey the model has nothing usable for has none.

    Parameters
    ----------
    keywords : mapping of str to sequence of str
        Each journey's name, and its keywords over all people.
    client : LlmClient or None
        None: nothing is related to anything.
    cache, blocked_terms, max_words, max_length, language
        As for ``name_journeys``; the same checks hold, but that a related journey need not share a word.
    most : int
        Of one journey.
    embed : callable, optional
        Unit vectors of texts; then a related journey is neither far from its journey nor the same in other words.
    on_progress : callable, optional
        See ``LlmClient.ask``.
    """
    if client is None:
        return {name: [] for name in keywords}
    checks = NameChecks(blocked_terms, max_words, max_length, any_script=bool(language))
    wanted = f"Write in {language}." if language else "Write in the language of the keywords."
    prompts = [
        Prompt(
            "related_journeys",
            VERSION,
            SYSTEM.format(most=most, length=max_length, language=wanted),
            {
                "name": outgoing(name, KEYWORD_LENGTH),
                "keywords": outgoing_all(own, limit=KEYWORD_LENGTH, most=KEYWORDS),
            },
            RelatedJourneys,
        )
        for name, own in keywords.items()
    ]
    outcomes: list[Outcome[RelatedJourneys]] = client.ask(
        prompts, cache=cache, on_progress=on_progress
    )
    return {
        name: _usable(name, own, outcome, checks, embed)[:most]
        for (name, own), outcome in zip(keywords.items(), outcomes, strict=True)
    }


def _usable(
    name: str,
    keywords: Sequence[str],
    outcome: Outcome[RelatedJourneys],
    checks: NameChecks,
    embed: Embed | None,
) -> list[str]:
    if isinstance(outcome, Refused):
        return []
    found: dict[str, str] = {}
    for one in outcome.content.related[: 2 * MOST]:
        shown = tidy(one)
        same = shown.casefold() == name.casefold()
        if not same and checks.problem(shown, (name, *keywords)) is None:
            found.setdefault(shown.casefold(), shown)
    names = list(found.values())
    if embed is None or not names:
        return names
    vectors = np.asarray(embed([name, *names]))
    near = vectors[1:] @ vectors[0]
    return [one for one, cosine in zip(names, near, strict=True) if NOT_FAR <= cosine <= THE_SAME]
