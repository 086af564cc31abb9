"""Asking many questions: some at a time, again where that may help, and never more than the run may cost."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from wayline.clock import Clock, wall_clock
from wayline.config import LlmConfig
from wayline.llm.cache import AnswerCache
from wayline.llm.endpoint import Endpoint, NoReplyError, Reply, said
from wayline.llm.prompts import A, Answer, Outcome, Prompt, Refused
from wayline.llm.replies import read_completion, validated
from wayline.llm.spending import Spending, estimate_tokens

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
GIVE_UP_AFTER = 5
"""Questions in a row that failed after all their retries: then the endpoint is down, and the rest is not asked."""
OnProgress = Callable[[int, int], None]
RETRIED = {408: "server_error", 429: "rate_limited"}
HOPELESS = {401, 403, 404}
"""A wrong key, model or path: no other question will fare better."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has cost so far, and what came of it: ``refused`` counts by reason."""

    requests: int = 0
    tokens: int = 0
    answered: int = 0
    cached: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class LlmClient:
    """A language model's client for one run; safe to use from many threads.

    Parameters
    ----------
    config : LlmConfig
        Section ``[llm]``.
    sleep : callable, optional
        Waits so many seconds between retries; by default a wait that ends early when the run is interrupted.
    clock : callable, optional
        Gives now in UTC milliseconds, for a ``Retry-After`` that is a date.
    rng : random.Random, optional
        Spreads the retries.

    Attributes
    ----------
    notes : list of str
        What a person should know, each said once.

    Raises
    ------
    ConfigError, MissingPackageError
        See ``Endpoint``.
    """

    def __init__(
        self,
        config: LlmConfig,
        *,
        sleep: Callable[[float], object] | None = None,
        clock: Clock = wall_clock,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.notes: list[str] = []
        self._noted: set[str] = set()
        self._endpoint = Endpoint(config, clock=clock)
        self._spending = Spending(config.max_requests, config.max_tokens)
        self._halted = threading.Event()
        self._sleep = sleep or self._halted.wait
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._failures = 0  # in a row
        self._stopped: Refused | None = None
        if self._endpoint.bare_key:
            self._note(
                "key",
                "llm.base_url is plain http to another host: llm.api_key goes there readably; use https.",
            )

    def ask(
        self,
        prompts: Sequence[Prompt[A]],
        *,
        cache: AnswerCache | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[Outcome[A]]:
        """Ask every question, the same ones once; gives an outcome each, in order, and raises for none of them.

        An answer is kept in ``cache`` as soon as it is there: a run that ends early goes on where it was.
        ``on_progress`` is called with how many of the questions that had to be asked are through, and of how many.
        """
        keys = [prompt.key(self.config.model) for prompt in prompts]
        known = cache.get_many(keys) if cache else {}
        found: dict[str, Outcome[A]] = {}
        for key, prompt in zip(keys, prompts, strict=True):
            if key in known and isinstance(kept := validated(prompt, known[key]), Answer):
                found[key] = Answer(kept.content, cached=True)
        missing = {k: p for k, p in zip(keys, prompts, strict=True) if k not in found}
        found |= self._ask_missing(missing, cache, on_progress)
        self._count([found[key] for key in keys])
        return [found[key] for key in keys]

    def _ask_missing(
        self,
        missing: dict[str, Prompt[A]],
        cache: AnswerCache | None,
        on_progress: OnProgress | None,
    ) -> dict[str, Outcome[A]]:
        def work(key: str, prompt: Prompt[A]) -> Outcome[A]:
            outcome = self._ask_one(prompt)
            if cache is not None and isinstance(outcome, Answer):
                cache.put(key, outcome.content.model_dump_json())
            return outcome

        if not missing:
            return {}
        pool = ThreadPoolExecutor(min(self.config.concurrency, len(missing)), "wayline-llm")
        found: dict[str, Outcome[A]] = {}
        try:
            outcomes = pool.map(work, missing, missing.values())
            for key, outcome in zip(missing, outcomes, strict=True):
                found[key] = outcome
                if on_progress is not None:
                    on_progress(len(found), len(missing))
            return found
        except BaseException:  # Ctrl-C: nothing new is asked, and nobody waits for a retry
            self._stopped = Refused("stopped", "interrupted")
            self._halted.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask_one(self, prompt: Prompt[A]) -> Outcome[A]:
        """Ask until there is an answer, a refusal that stands, or no retry left."""
        body = prompt.body(self.config)
        outcome: Outcome[A] = Refused("off")
        for attempt in range(max(self.config.retries, 0) + 1):
            if self._stopped is not None:
                return self._stopped
            outcome, wait_s = self._try_once(prompt, body)
            if wait_s is None:
                return outcome
            if attempt < self.config.retries:
                self._sleep(self._patience_s(attempt, wait_s))
        self._failed(outcome)
        return outcome

    def _try_once(self, prompt: Prompt[A], body: bytes) -> tuple[Outcome[A], float | None]:
        """Send one request; the second is None where asking again would not help, else how long to wait at least."""
        reserved = estimate_tokens(len(body)) + self.config.answer_tokens
        if not self._spending.reserve(reserved):
            return self._out_of_budget(), None
        used = 0
        try:
            reply = self._endpoint.post(body)
            if reply.status == 200:
                completion = read_completion(reply.body, len(body))
                used = completion.tokens
                self._failures = 0
                if completion.content is None:
                    return completion.refused or Refused("protocol"), None
                return validated(prompt, completion.content), None
            return self._not_ok(reply)
        except NoReplyError as error:
            if error.reason != "connection":  # it was read, so it may have been paid for
                used = reserved
            refused = Refused(error.reason, error.detail)
            return refused, None if error.reason == "protocol" else 0.0
        finally:
            self._spending.settle(reserved, used)

    def _not_ok(self, reply: Reply) -> tuple[Refused, float | None]:
        detail = f"HTTP {reply.status}: {said(reply.body, self.config.api_key)}"
        reason = RETRIED.get(reply.status, "server_error" if reply.status >= 500 else "http")
        refused = Refused(reason, detail)
        if reason == "http":
            if reply.status in HOPELESS:
                self._stop(detail)
            return refused, None
        return refused, reply.retry_after_s or 0.0

    def _patience_s(self, attempt: int, asked_s: float) -> float:
        """Twice as long each time, spread so that many do not come back at once; never sooner than asked."""
        backoff_s = min(FIRST_WAIT_S * 2.0**attempt, LONGEST_WAIT_S)
        with self._lock:
            return max(asked_s, backoff_s * self._rng.uniform(0.5, 1.0))

    def _out_of_budget(self) -> Refused:
        spent = self._spending
        self._note(
            "budget",
            f"The budget of this run is used up ({spent.requests:,} of {spent.max_requests:,} requests, "
            f"{spent.tokens:,} of {spent.max_tokens:,} tokens): the rest goes without the model; run again, or raise "
            "llm.max_requests or llm.max_tokens.",
        )
        return Refused("budget")

    def _failed(self, outcome: Any) -> None:
        with self._lock:
            self._failures += 1
            over = self._failures >= GIVE_UP_AFTER
        if over and isinstance(outcome, Refused):
            self._stop(f"{outcome.reason}, {outcome.detail}")

    def _stop(self, detail: str) -> None:
        with self._lock:
            self._stopped = self._stopped or Refused("stopped", detail)
        self._note(
            "stopped",
            f"The language model is left alone for the rest of this run ({detail}): check [llm].",
        )

    def _note(self, about: str, line: str) -> None:
        """Say something, unless something was said about it."""
        with self._lock:
            if about not in self._noted:
                self._noted.add(about)
                self.notes.append(line)

    def _count(self, outcomes: Sequence[Outcome[A]]) -> None:
        with self._lock:
            for outcome in outcomes:
                if isinstance(outcome, Refused):
                    self._outcomes[outcome.reason] += 1
                else:
                    self._outcomes["+cached" if outcome.cached else "+answered"] += 1

    def usage(self) -> Usage:
        """What was spent since the client was made, and what came of it."""
        with self._lock:
            refused = {k: n for k, n in sorted(self._outcomes.items()) if k[0] != "+"}
            return Usage(
                self._spending.requests,
                self._spending.tokens,
                self._outcomes["+answered"],
                self._outcomes["+cached"],
                refused,
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._endpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
