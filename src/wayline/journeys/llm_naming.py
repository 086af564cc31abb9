"""Names for journeys by a language model, checked, with the name that is there already as the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wayline.journeys.name_checks import MAX_LENGTH, MAX_WORDS, Embed, NameChecks, first_good
from wayline.llm import AnswerCache, LlmClient, Outcome, Prompt, Refused
from wayline.llm.client import OnProgress
from wayline.llm.prompts import AnswerModel
from wayline.llm.texts import outgoing_all

VERSION = 1
KEYWORDS, KEYWORD_LENGTH = 12, 60
EXAMPLES, EXAMPLE_LENGTH = 8, 120
NAMES = 3

SYSTEM = (
    "You name what a person is busy with, for a heading that they will read. You get keywords, the most important "
    "first, and titles of some items they looked at. Give up to three names, the best first. A name has two to four "
    "words and at most {length} characters, says what it is about with words from the keywords, begins with one "
    "capital letter, and has no brand, number, emoji, address, quotes or full stop. It says nothing about who the "
    "person is, their health, faith or troubles. {language} "
    'Answer with JSON: {{"names": ["Baby room ideas", "Nursery"]}}.'
)


class JourneyNames(AnswerModel):
    """What the model has to answer."""

    names: list[str]


@dataclass(frozen=True, slots=True)
class NamingInput:
    """One journey to name: keywords, the most important first, titles of its items, and its name without a model."""

    keywords: tuple[str, ...]
    examples: tuple[str, ...]
    fallback: str


@dataclass(frozen=True, slots=True)
class Named:
    """A journey's name; ``source`` is "llm" or "fallback".

    ``alternatives`` are further names that passed, for a caller who must not use one twice. ``reason`` says why it is
    the fallback: what became of the question (see ``Refused``), or which check the best name failed.
    """

    name: str
    source: str
    reason: str = ""
    alternatives: tuple[str, ...] = ()


def name_journeys(
    inputs: Sequence[NamingInput],
    client: LlmClient | None,
    *,
    cache: AnswerCache | None = None,
    blocked_terms: Sequence[str],
    max_words: int = MAX_WORDS,
    max_length: int = MAX_LENGTH,
    language: str = "",
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
) -> list[Named]:
    """Name journeys, a request each: nothing that stands in one can reach another.

    The same input and cache give the same names. What the model answers is only ever one of the names that pass every
    check (``name_checks``), so a hostile title can at most cost its own journey the better name.

    Parameters
    ----------
    inputs : sequence of NamingInput
    client : LlmClient or None
        None: every name is the fallback.
    cache : AnswerCache, optional
        Answers are kept unchecked, so that new blocked terms hold for old answers too.
    blocked_terms : sequence of str
        See ``load_blocked_terms``.
    max_words, max_length : int
        Of a name; characters.
    language : str
        Of the names, such as "German"; empty: that of the keywords. Needs ``embed`` where it is another, since no word
        is shared then.
    embed : callable, optional
        Unit vectors of texts: lets a name pass that shares no word with its journey but its meaning.
    on_progress : callable, optional
        See ``LlmClient.ask``.

    Returns
    -------
    list of Named
        In the order of ``inputs``.
    """
    checks = NameChecks(blocked_terms, max_words, max_length, any_script=bool(language))
    if client is None:
        return [Named(one.fallback, "fallback", "off") for one in inputs]
    prompts = [naming_prompt(one, max_length=max_length, language=language) for one in inputs]
    asked = [i for i, prompt in enumerate(prompts) if prompt.data["keywords"]]
    outcomes: dict[int, Outcome[JourneyNames]] = dict(
        zip(
            asked,
            client.ask([prompts[i] for i in asked], cache=cache, on_progress=on_progress),
            strict=True,
        )
    )
    return [
        _named(one, outcomes.get(i, Refused("no_keywords")), checks, embed)
        for i, one in enumerate(inputs)
    ]


def naming_prompt(
    one: NamingInput, *, max_length: int = MAX_LENGTH, language: str = ""
) -> Prompt[JourneyNames]:
    """Write the question about one journey: its keywords and some titles, and nothing about whose it is."""
    wanted = f"Write in {language}." if language else "Write in the language of the keywords."
    return Prompt(
        "journey_names",
        VERSION,
        SYSTEM.format(length=max_length, language=wanted),
        {
            "keywords": outgoing_all(one.keywords, limit=KEYWORD_LENGTH, most=KEYWORDS),
            "titles": outgoing_all(one.examples, limit=EXAMPLE_LENGTH, most=EXAMPLES),
        },
        JourneyNames,
    )


def _named(
    one: NamingInput, outcome: Outcome[JourneyNames], checks: NameChecks, embed: Embed | None
) -> Named:
    if isinstance(outcome, Refused):
        return Named(one.fallback, "fallback", outcome.reason)
    about = (*one.keywords, *one.examples)
    good, why = first_good(outcome.content.names[:NAMES], checks, about, embed)
    if not good:
        return Named(one.fallback, "fallback", why or "empty")
    return Named(good[0], "llm", "", tuple(good[1:]))
