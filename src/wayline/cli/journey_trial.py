"""Evaluating journeys on a workspace's own log: scratch copies built as of several moments answer, and what people did
next decides.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.errors import NothingToBuildError
from wayline.evaluation.intervals import Difference, Interval, bootstrap, paired_difference
from wayline.evaluation.journey_lists import (
    Line,
    claim_in_turn,
    covered,
    lines_by_label,
    members_of,
    ranked_by_nearness,
    ranked_by_wanting,
    topics_of_vectors,
)
from wayline.evaluation.journey_quality import agreement, distinctness, kept, membership
from wayline.journeys.names import name_key
from wayline.journeys.phrases import parts_of
from wayline.schema import FloatMatrix, IntVector, Journey

if TYPE_CHECKING:
    from wayline.engine import Engine

TOPICS = (20, 50, 100)
OURS = "journeys"
HALF_LIFE_DAYS = 90.0
WANTED_HALF_LIFE_DAYS = 60.0
MOST_LIMIT = 500
MORE = 0.05  # of the actions, added for stability
ANYBODY = 400  # people whose journeys should stay
Shares = npt.NDArray[np.float64]
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How journeys are evaluated.

    ``share`` of the catalogue is what one line of a list claims; ``until`` are the moments, UTC milliseconds.
    """

    until: tuple[int, ...]
    weeks: int = 4
    people: int = 300
    ks: tuple[int, ...] = (3, 5, 10)
    share: float = 0.01
    least_before: int = 20
    least_after: int = 3
    seed: int = 0


@dataclass(slots=True)
class JourneyReport:
    """What came of it: coverage by kind of list and number of lines, and the quality of the journeys themselves.

    ``ahead`` is how much more journeys cover than each other kind that has as many lines as asked for, ``ahead_equal``
    than one cut to as many lines as the person has journeys.
    """

    protocol: dict[str, Any]
    people: int
    cases: int
    coverage: dict[str, dict[int, Interval]]
    ahead: dict[str, dict[int, Difference]]
    ahead_equal: dict[str, dict[int, Difference]]
    quality: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {
            "protocol": self.protocol,
            "people": self.people,
            "cases": self.cases,
            "coverage": {
                name: {f"@{k}": one.to_dict() for k, one in found.items()}
                for name, found in self.coverage.items()
            },
            "ahead": {
                name: {f"@{k}": one.interval.to_dict() for k, one in found.items()}
                for name, found in self.ahead.items()
            },
            "ahead_equal": {
                name: {f"@{k}": one.interval.to_dict() for k, one in found.items()}
                for name, found in self.ahead_equal.items()
            },
            "quality": self.quality,
            "notes": self.notes,
        }


def choose_moments(engine: Engine, count: int, weeks: int) -> tuple[int, ...]:
    """Give moments in the last third of the log by actions, none so late that the weeks after it are cut off."""
    parts = [part.ts_ms for part in engine.store.scan_actions()]
    if not parts:
        raise NothingToBuildError("There are no actions to evaluate on: run `wayline import`.")
    ts_ms = np.sort(np.concatenate(parts))
    latest = int(ts_ms[-1]) - weeks * 7 * DAY_MS
    first = int(ts_ms[len(ts_ms) * 2 // 3])
    if latest <= first:
        first = int(ts_ms[0]) + (latest - int(ts_ms[0])) // 2
    return tuple(int(t) for t in np.linspace(first, latest, count))


def evaluate_journeys(
    engine: Engine,
    protocol: Protocol,
    *,
    steady: bool = True,
    on_progress: OnProgress | None = None,
) -> JourneyReport:
    """Build as of each moment in a scratch copy, list what people are on, and look at what they did next.

    Parameters
    ----------
    steady : bool
        Also build once more with nothing new, and with 5 % more actions, and compare.
    """
    say = on_progress or (lambda _what, _done, _total: None)
    rows: dict[str, dict[str, list[Shares]]] = {}
    quality: dict[str, Any] = {}
    with ExitStack() as stack:
        scratch = _copy(stack, engine)
        for n, until in enumerate(protocol.until):
            say(f"as of moment {n + 1} of {len(protocol.until)}", n, len(protocol.until))
            scratch.build(until=until)
            trial = _Trial(scratch, until, protocol)
            for number, user in enumerate(trial.people):
                for name, shares in trial.coverage_of(user).items():
                    rows.setdefault(name, {}).setdefault(user, []).append(shares)
                say(f"people as of moment {n + 1}", number + 1, len(trial.people))
            if n == len(protocol.until) - 1:
                quality = trial.quality()
                if steady:
                    quality |= _steadiness(scratch, trial, say)
    users = sorted(rows.get(OURS, {}))
    if not users:
        raise NothingToBuildError(
            f"Nobody has {protocol.least_before} actions before a moment and {protocol.least_after} in the "
            f"{protocol.weeks} weeks after it: import a longer log, or give --weeks."
        )
    means = {
        name: np.array([np.mean(found[u], axis=0) for u in users]) for name, found in rows.items()
    }
    coverage = {
        name: {k: bootstrap(column[:, 0, j]) for j, k in enumerate(protocol.ks)}
        for name, column in means.items()
    }
    ahead, ahead_equal = (
        {
            name: {
                k: paired_difference(means[OURS][:, way, j], column[:, way, j])
                for j, k in enumerate(protocol.ks)
            }
            for name, column in means.items()
            if name != OURS
        }
        for way in range(2)
    )
    cases = sum(len(found) for found in rows[OURS].values())
    return JourneyReport(
        dataclasses.asdict(protocol), len(users), cases, coverage, ahead, ahead_equal, quality
    )


def _copy(stack: ExitStack, engine: Engine) -> Engine:
    import wayline

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wayline-journeys-")))
    path = engine.backup(folder / "workspace")
    settings: dict[str, Any] = dataclasses.asdict(engine.config)
    settings["feed"]["repeat"] = (
        "allow"  # people come back to what they have, and that is on a journey too
    )
    settings["time"]["clock"] = "log"
    settings["notifications"]["smtp_password"] = settings["notifications"]["webhook_secret"] = ""
    settings["llm"]["base_url"] = ""
    cache = engine.path / "data" / "cache"
    if cache.is_dir():
        import shutil

        shutil.copytree(cache, path / "data" / "cache", dirs_exist_ok=True)
    scratch = wayline.open(path, config=settings)
    stack.callback(scratch.close)
    return scratch


class _Trial:
    """One moment: what every kind of list says of a person, and what came."""

    def __init__(self, engine: Engine, until: int, protocol: Protocol) -> None:
        self.engine, self.until, self.protocol = engine, until, protocol
        served = engine._serving.generation()
        self.vectors: FloatMatrix = np.asarray(served.vectors)
        hidden = served.hidden()[: len(self.vectors)]
        self.usable = served.usable & ~hidden
        self.size = max(round(protocol.share * len(self.vectors)), 5)
        self._read_log(served.worths)
        self.labels = {
            f"topics ({k})": topics_of_vectors(self.vectors, self.usable, k) for k in TOPICS
        }
        categories = self._categories()
        if any(categories):
            self.labels["categories"] = categories
        self.members = {name: members_of(found) for name, found in self.labels.items()}
        self.people = self._choose()

    def _read_log(self, worths: Any) -> None:
        parts = list(self.engine.store.scan_actions())
        columns = [
            np.concatenate([getattr(p, name) for p in parts])
            for name in ("user_key", "item_key", "ts_ms")
        ]
        worth = worths.of(np.concatenate([p.action_key for p in parts]).astype(np.int64))
        wanted = worth > 0
        self.user_key, item_key, self.ts_ms = (column[wanted] for column in columns)
        self.item_idx, self.worth = item_key - 1, worth[wanted]
        known = self.item_idx < len(self.vectors)
        self.user_key, self.item_idx = self.user_key[known], self.item_idx[known]
        self.ts_ms, self.worth = self.ts_ms[known], self.worth[known]
        age = np.maximum(self.until - self.ts_ms, 0) / DAY_MS
        past = self.ts_ms <= self.until
        weight = np.where(past, 0.5 ** (age / WANTED_HALF_LIFE_DAYS), 0.0)
        self.wanted = np.bincount(self.item_idx, weight, len(self.vectors)).astype(np.float64)
        self.later = (self.ts_ms > self.until) & (
            self.ts_ms <= self.until + self.protocol.weeks * 7 * DAY_MS
        )
        self.past = past

    def _categories(self) -> list[list[int]]:
        texts = self.engine.store.item_texts().head(len(self.vectors))
        number: dict[str, int] = {}
        out = []
        for category, tags in texts.select("category", "tags").iter_rows():
            parts = parts_of(category, None)[0] or parts_of(None, tags)[1]
            out.append([number.setdefault(part, len(number)) for part in dict.fromkeys(parts)])
        return out

    def _choose(self) -> list[str]:
        size = int(self.user_key.max(initial=0)) + 1
        before = np.bincount(self.user_key[self.past], minlength=size)
        after = np.bincount(self.user_key[self.later], minlength=size)
        keys = np.flatnonzero(
            (before >= self.protocol.least_before) & (after >= self.protocol.least_after)
        )
        chosen = np.random.default_rng(self.protocol.seed).permutation(keys)[: self.protocol.people]
        return [user_id for user_id in self.engine.store.user_ids(np.sort(chosen)) if user_id]

    def coverage_of(self, user_id: str) -> dict[str, Shares]:
        """Give the share of a person's later actions that each kind of list covers.

        Returns
        -------
        mapping of str to float64 array, shape [2, K]
            By number of lines; below, of no more lines than the person has journeys.
        """
        key = self.engine.store.user_key(user_id) or 0
        mine = self.user_key == key
        future = self.item_idx[mine & self.later]
        past = mine & self.past
        items, inverse = np.unique(self.item_idx[past], return_inverse=True)
        age = (self.until - self.ts_ms[past]) / DAY_MS
        value = self.worth[past] * 0.5 ** (age / HALF_LIFE_DAYS)
        weight = np.bincount(inverse, value).astype(np.float64)
        most, need = max(self.protocol.ks), max(self.protocol.ks) * self.size
        lists: dict[str, list[IntVector]] = {OURS: self._journey_feeds(user_id, most)}
        interests = self.engine.interests(user_id, at=self.until)[:most]
        lines = [Line(self._idx(one.items), np.ones(len(one.items))) for one in interests]
        lists["interests"] = ranked_by_nearness(lines, self.vectors, self.usable, need)
        for name, labels in self.labels.items():
            lines = lines_by_label(items, weight, labels, most)
            lists[f"{name}, nearest"] = ranked_by_nearness(lines, self.vectors, self.usable, need)
            lists[f"{name}, most wanted"] = ranked_by_wanting(
                lines, self.members[name], self.wanted, need
            )
        out = {}
        for name, ranked in lists.items():
            claims = claim_in_turn(ranked, self.size)
            cut = claims[: len(lists[OURS])]
            out[name] = np.array([covered(future, own, self.protocol.ks) for own in (claims, cut)])
        return out

    def _journey_feeds(self, user_id: str, most: int) -> list[IntVector]:
        """Give each journey's own feed, deep enough that what earlier ones claimed can be left out."""
        limit = min(MOST_LIMIT, 3 * self.size)
        out = []
        for journey in self.engine.journeys(user_id, at=self.until, limit=most):
            feed = self.engine.feed(user_id, limit=limit, at=self.until, journey=journey.id)
            out.append(self._idx([item.item_id for item in feed.items]))
        return out

    def _idx(self, item_ids: Sequence[str]) -> IntVector:
        idx = self.engine.store.item_keys(list(item_ids)) - 1
        return idx[(idx >= 0) & (idx < len(self.vectors))]

    def anybody(self) -> list[str]:
        """Give people of the log as they come, however much they did and whether or not they came back."""
        keys = np.unique(self.user_key[self.past])
        chosen = np.random.default_rng(self.protocol.seed).permutation(keys)[:ANYBODY]
        return [user_id for user_id in self.engine.store.user_ids(np.sort(chosen)) if user_id]

    def journeys(
        self, at: int | None = None, people: Sequence[str] | None = None
    ) -> dict[str, list[Journey]]:
        """Give the journeys of the people chosen, or of some others."""
        moment = self.until if at is None else at
        asked = self.people if people is None else people
        return {user: self.engine.journeys(user, at=moment, limit=MOST_LIMIT) for user in asked}

    def quality(self) -> dict[str, Any]:
        """How unique, distinct and well placed the journeys of this moment are."""
        found = self.journeys()
        served = self.engine._serving.generation()
        assert served.journeys is not None
        places = served.journeys.task.keywords.item_places
        unique = [len({name_key(j.name) for j in own}) == len(own) for own in found.values()]
        margins, distinct, purity, nmi = [], [], [], []
        labels = self.labels.get("categories")
        for own in found.values():
            if not own:
                continue
            items = [self._idx([e.item_id for e in j.evidence]) for j in own]
            centres = np.stack([_middle(places, idx) for idx in items])
            near = [places[idx] @ centres.T for idx in items]
            for q, block in enumerate(near):
                others = np.delete(block, q, axis=1)
                second = others.mean(axis=0).max() if others.shape[1] else 0.0
                margins.append(float(block[:, q].mean() - second))
            distinct.append([distinctness(centres, k) for k in self.protocol.ks])
            if labels is not None:
                groups = membership(list(enumerate(items)))
                known = {i: str(labels[i][0]) for i in groups if labels[i]}
                pure, mutual = agreement(groups, known) if known else (0.0, 0.0)
                purity.append(pure)
                nmi.append(mutual)
        out: dict[str, Any] = {
            "people": len(found),
            "journeys": sum(map(len, found.values())),
            "with_as_many_as_asked_for": float(
                np.mean([len(own) >= max(self.protocol.ks) for own in found.values()])
            ),
            "names_unique": float(np.mean(unique)) if unique else 1.0,
            "margin_mean": float(np.mean(margins)) if margins else 0.0,
            "margin_above_0": float(np.mean(np.array(margins) > 0)) if margins else 0.0,
        }
        if distinct:
            means = np.mean(distinct, axis=0).tolist()
            out |= {
                f"distinct@{k}": value for k, value in zip(self.protocol.ks, means, strict=True)
            }
        if purity:
            out |= {"category_purity": float(np.mean(purity)), "category_nmi": float(np.mean(nmi))}
        return out


def _middle(places: FloatMatrix, idx: IntVector) -> FloatMatrix:
    total = places[idx].sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9))


def _steadiness(engine: Engine, trial: _Trial, say: OnProgress) -> dict[str, Any]:
    """Build again with nothing new, and with the next 5 % of the actions."""
    ts_ms = np.sort(np.concatenate([part.ts_ms for part in engine.store.scan_actions()]))
    count = int((ts_ms <= trial.until).sum())
    later = int(ts_ms[min(round(count * (1 + MORE)), len(ts_ms) - 1)])
    people = list(dict.fromkeys([*trial.people, *trial.anybody()]))
    before = trial.journeys(people=people)
    say("once more with nothing new", 0, 2)
    engine.build(until=trial.until)
    same = trial.journeys(people=people)
    say("with 5 % more actions", 1, 2)
    engine.build(until=later)
    more = trial.journeys(later, people)
    return {
        "nothing_new": _kept(before, same, people),
        "more_actions": {"share": MORE, **_kept(same, more, trial.anybody())},
        "more_actions_of_the_active": {"share": MORE, **_kept(same, more, trial.people)},
    }


def _kept(
    before: dict[str, list[Journey]], after: dict[str, list[Journey]], people: Sequence[str]
) -> dict[str, float]:
    found = [
        kept(*([(j.id, j.name, [e.item_id for e in j.evidence]) for j in run[user]] for run in (before, after)))
        for user in people
    ]  # fmt: skip
    total = max(sum(one.before for one in found), 1)
    return {
        "journeys": sum(one.before for one in found),
        "kept_id": sum(one.same_id for one in found) / total,
        "kept_id_and_name": sum(one.same_name for one in found) / total,
        "ari": float(np.mean([one.ari for one in found])) if found else 1.0,
    }
