"""A generation opened for serving: its files mapped, and what the log brought since."""

from __future__ import annotations

import copy
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.builder import HEARD, WANTED_PAIRS, make_labeller, pairs_of, read_counted
from wayline.clock import DAY_MS
from wayline.config import Config
from wayline.errors import FileProblemError, NotFoundError, RankerError, shorten
from wayline.feed.home import fill_pipeline, home_pipeline, journey_pipeline
from wayline.feed.query import JourneyView
from wayline.feed.scorers.learned import LearnedOrder
from wayline.interests.control_log import ControlLog
from wayline.interests.controls import JOURNEY, MUTE, Control, Standing, settle
from wayline.interests.interests import InterestSet
from wayline.interests.live import LiveInterests
from wayline.interests.online import fade
from wayline.journeys.building import ServedJourneys, rules_of
from wayline.journeys.everybody import PersonLog, Task
from wayline.journeys.evidence import Words
from wayline.journeys.keywords import BOARD, QUERY
from wayline.journeys.live import LiveJourney, LiveJourneys, MutedInterests
from wayline.journeys.name_checks import NameChecks, load_blocked_terms
from wayline.journeys.ranking import JourneyRanker
from wayline.journeys.stages import ONGOING
from wayline.ranking.features import ItemState
from wayline.ranking.learned import FOLDER as RANKER
from wayline.ranking.learned import LearnedRanker
from wayline.retrieval.births import Births
from wayline.retrieval.next_item import NextItemModel
from wayline.retrieval.next_item.inference import FOLDER as NEXT_ITEM
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.recipe import Recipe
from wayline.retrieval.signals import HALF_LIVES_DAYS, SIGNALS, TABLE_SIGNALS, SignalTables
from wayline.retrieval.tables import NeighbourTable
from wayline.rewards.reward import mean_rate
from wayline.rewards.trying import Trying, try_interests
from wayline.schema import CONTROL_PREFIXES, BoolVector, FloatVector, IndexVector, IntVector
from wayline.sequences.cache import Histories
from wayline.sequences.history import UserSequence, Worths, user_sequence
from wayline.sequences.person import ActionVectors
from wayline.storage.generations import Generations
from wayline.storage.store import Store
from wayline.storage.usearch_index import UsearchIndex

log = logging.getLogger(__name__)
PROFILES_KEPT = 2048  # people whose interests stay in memory


@dataclass(frozen=True, slots=True)
class Profile:
    """A person's interests as of ``ts_ms``, with what they are called and what the person said of them, shape [Q]."""

    interests: InterestSet
    ids: list[str]
    labels: list[str]
    standing: Standing
    ts_ms: int


class ReadsHistories(Protocol):
    """Where a view finds a person's actions: see ``Histories``."""

    def get(self, user_key: int, until_ts_ms: int | None = None) -> ActionVectors: ...


class ReadsControls(Protocol):
    """Where a view finds a person's controls: see ``ControlLog``."""

    def of(self, user_key: int, at_ts_ms: int, subject: str = ...) -> list[Control]: ...


class _Calls:
    """Titles or ids of items, read when asked: the last resort of journeys' names."""

    def __init__(self, store: Store, what: str) -> None:
        self._store, self._what = store, what

    def __getitem__(self, item_idx: int) -> str | None:
        (record,) = self._store.item_records(np.array([item_idx + 1], np.int64))
        return record.title if self._what == "title" else record.item_id


class ServedGeneration:
    """Model, index, vectors and counts that belong together; a new generation is a new object.

    The log's actions after the generation's position are counted into popularity as they come; a person's own history
    is always read from the store.

    Parameters
    ----------
    id_ : str
    generations : Generations
    store : Store
    config : Config
    controls : ControlLog
    histories : Histories
        These two outlive the generation.
    """

    def __init__(
        self,
        id_: str,
        generations: Generations,
        store: Store,
        config: Config,
        controls: ControlLog,
        histories: Histories,
    ) -> None:
        self.id = id_
        self.path, self.manifest = generations.open(id_)
        self._store, self._config = store, config
        self._lock = threading.Lock()
        self._profiles: OrderedDict[tuple[int, int, int, int], Profile] = OrderedDict()
        self._controls, self._histories = controls, histories
        # What a person's log is read through: the same two, except in a view (``laid_over``).
        self._said: ReadsControls = controls
        self._done: ReadsHistories = histories
        folder = self.path
        # A plain array over the mapped pages: numpy pays for its memmap class at every index.
        self.vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r"))
        self.usable: BoolVector = np.load(folder / "usable.npy")
        self.left_out: BoolVector = np.load(folder / "left_out.npy")
        self.index = UsearchIndex.view(folder / "index.usearch")
        self.built_recipe = Recipe.load(
            folder / "recipe.json"
        )  # pins lie over it, request by request
        heard = np.load(folder / HEARD) if (folder / HEARD).exists() else None
        popularity = Popularity(
            np.load(folder / "want_ts_ms.npy"),
            np.load(folder / "want_item_idx.npy"),
            len(self.usable),
            HALF_LIVES_DAYS,
            heard,
        )
        tables = {  # an older build did not count all of them
            name: NeighbourTable.view(folder, name)
            for name in TABLE_SIGNALS
            if (folder / f"{name}.weight.npy").exists()
        }
        born_ts_ms = np.load(folder / "born_ts_ms.npy")
        births = Births(born_ts_ms)
        self.tables = SignalTables(tables, self.vectors, popularity, heard, births)
        self.worths = Worths(config.actions, store.action_names())
        self.position = int(self.manifest["position"])
        pairs = folder / WANTED_PAIRS
        self._wanted_pairs = (
            np.load(pairs, mmap_mode="r") if pairs.exists() else np.zeros(0, np.int64)
        )
        self._wanted_since: set[int] = set()
        self.counted = read_counted(folder, self.manifest)
        self._live = LiveInterests(
            self.counted, self.vectors, self.usable, config.interests,
            lambda item_idx: store.item_ids(item_idx + 1),
        )  # fmt: skip
        self._items_version = -1
        self._hidden: BoolVector = self.left_out
        self.learned, self.ranker_trouble = self._open_ranker(born_ts_ms)
        self.pipeline = home_pipeline(
            self.index, births, config.retrieval, self.learned, self._open_next_items()
        )
        self.fill = fill_pipeline(popularity, born_ts_ms)
        self.journey_pipeline = journey_pipeline(config.retrieval)
        self.teller = JourneyRanker()
        self.journeys = self._open_journeys()
        self._catch_up_with_what_until_left_out()

    def _open_ranker(self, born_ts_ms: IntVector) -> tuple[LearnedOrder | None, str]:
        """Open the generation's ranker; without one no torch is loaded. A damaged one is said and left out."""
        settings = self._config.ranking
        if settings.mode == "off" or not (self.path / RANKER).exists():
            return None, ""
        try:
            ranker = LearnedRanker.load(
                self.path / RANKER,
                dtype=settings.dtype,
                threads=settings.threads,
                sequences=self._config.sequences,
            )
        except RankerError as error:
            log.warning("%s", error)
            return None, str(error)
        items = ItemState(self.vectors, born_ts_ms, self.tables.popularity)
        order = LearnedOrder(
            ranker, items, most=settings.candidates, budget_ms=settings.budget_ms,
            until_ts_ms=int(self.manifest["until"]),
        )  # fmt: skip
        return order, ""

    def _open_next_items(self) -> NextItemModel | None:
        """Open the generation's next-item model; a damaged one is said and left out."""
        if self._config.retrieval.sequence_s <= 0 or not (self.path / NEXT_ITEM).exists():
            return None
        try:
            return NextItemModel.load(self.path / NEXT_ITEM)
        except FileProblemError as error:
            log.warning("%s", error)
            return None

    def _open_journeys(self) -> LiveJourneys | None:
        """Open the generation's journeys; None where the build made none."""
        if self._config.journeys.mode == "off":
            return None
        found = ServedJourneys.open(self.path)
        if found is None:
            return None
        calls = (_Calls(self._store, "title"), _Calls(self._store, "item_id"))
        workspace = self.path.parents[2]
        task = Task(
            found.keywords, rules_of(self._config.journeys), found.ranker, *calls,
            found.until_ts_ms, NameChecks(load_blocked_terms(workspace)).blocked,
        )  # fmt: skip
        self.related, self.teller = found.related, found.teller
        return LiveJourneys(task, found.table, found.until_ts_ms)

    def laid_over(self, done: ReadsHistories, said: ReadsControls, worths: Worths) -> Self:
        """Give a view that reads people's logs through these, with caches of its own: neither sees the other's.

        It shares the generation's files and everybody's counts, and is for one answer: it does not follow the log.
        """
        _ = self._labeller  # read from disk once, not by every view
        view = copy.copy(self)
        view._done, view._said, view.worths = done, said, worths
        view._lock, view._profiles = threading.Lock(), OrderedDict()
        view._live = self._live.without_memory()
        view.journeys = None if self.journeys is None else self.journeys.without_memory()
        return view

    def signal_names(self, recipe: Recipe) -> tuple[str, ...]:
        """The signals a request reads: the recipe's, or all that a ranker knows."""
        return recipe.names() if self.learned is None else SIGNALS

    def head_names(self) -> tuple[str, ...]:
        """What the ranker foretells; nothing without one."""
        return () if self.learned is None else self.learned.ranker.heads.names

    def tokens(self, user_key: int, at_ts_ms: int | None) -> Any:
        """Keep of a person's actions what the ranker reads; None without a ranker."""
        if self.learned is None:
            return None
        actions = self._done.get(user_key, at_ts_ms)
        limit = self._config.sequences.impressions
        return self.learned.ranker.reading.history(
            actions,
            lambda: self._store.user_impressions(user_key, until_ts_ms=at_ts_ms, limit=limit),
        )

    @cached_property
    def _labeller(self) -> Any:
        return make_labeller(pl.read_parquet(self.path / "titles.parquet"))

    @cached_property
    def categories(self) -> IndexVector:
        """A number for each item's category as of the build, shape [N]; -1 for none."""
        named = pl.read_parquet(self.path / "titles.parquet", columns=["category"])["category"]
        named = named.set(named == "", None)
        return named.rank("dense").fill_null(0).to_numpy().astype(np.int32) - 1

    def label(self, members: IntVector, weights: npt.NDArray[np.float64], medoid_idx: int) -> str:
        """Name one interest by itself, as if its person had no other."""
        (label,) = self._labeller.label_all([members], [weights], [medoid_idx])
        return str(label)

    def _catch_up_with_what_until_left_out(self) -> None:
        until = int(self.manifest["until"])
        newest = self._store.newest_ts_ms()
        if newest is not None and newest > until:
            for part in self._store.scan_actions():
                if part.position[0] > self.position:
                    break  # `follow` counts these
                late = (part.ts_ms > until) & (part.position <= self.position)
                self._count(
                    part.user_key[late],
                    part.item_key[late],
                    part.action_key[late],
                    part.ts_ms[late],
                    part.position[late],
                )

    def follow(self) -> None:
        """Count what the log brought since the last call; cheap when there is nothing."""
        self._controls.follow()
        if (
            self._histories.position < self.position
        ):  # a build has counted what they have not seen yet
            self._histories.follow_log()
        if self._store.position() <= self.position:
            return
        with self._lock:
            for part in self._store.scan_actions(after=self.position):
                self._histories.follow(part, after=self.position)
                if len(self.worths) < int(part.action_key.max()):
                    self.worths = Worths(self._config.actions, self._store.action_names())
                self._count(
                    part.user_key, part.item_key, part.action_key, part.ts_ms, part.position
                )
                self.position = int(part.position[-1])

    def _count(
        self,
        user_key: IntVector,
        item_key: IntVector,
        action_key: npt.NDArray[np.int16],
        ts_ms: IntVector,
        position: IntVector,
    ) -> None:
        """Count wanting actions that are the first of their person on their item, as a build does.

        Of several new ones on an item the earliest counts; one that is older than what was counted before does not move
        it: the next build does.
        """
        rows = np.flatnonzero(self.worths.of(action_key.astype(np.int64)) > 0)
        rows = rows[np.lexsort((position[rows], ts_ms[rows]))]
        pair, first = np.unique(pairs_of(user_key[rows], item_key[rows]), return_index=True)
        at = np.searchsorted(self._wanted_pairs, pair)
        at[at == len(self._wanted_pairs)] = 0
        known = (
            self._wanted_pairs[at] == pair if len(self._wanted_pairs) else np.zeros(len(pair), bool)
        )
        fresh = [
            n for n in np.flatnonzero(~known).tolist() if int(pair[n]) not in self._wanted_since
        ]
        self._wanted_since.update(pair[fresh].tolist())
        rows = rows[np.sort(first[fresh])]
        self.tables.count(ts_ms[rows], item_key[rows] - 1)

    def hidden(self) -> BoolVector:
        """Which items are never shown, shape [at least N]."""
        version = self._store.items_version()
        if version != self._items_version:
            keys = self._store.hidden_keys()
            size = max(len(self.left_out), int(keys.max(initial=0)))
            hidden = np.zeros(size, bool)
            hidden[: len(self.left_out)] = self.left_out
            hidden[keys - 1] = True
            self._hidden, self._items_version = hidden, version
        return self._hidden

    def sequence(self, user_key: int, at_ts_ms: int | None) -> UserSequence:
        """Give what a person did up to a moment, everything for None."""
        actions = self._done.get(user_key, at_ts_ms)
        if len(actions) and len(self.worths) < int(actions.action_key.max()):
            self.worths = Worths(self._config.actions, self._store.action_names())
        return user_sequence(actions, self.worths)

    def profile(
        self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int
    ) -> Profile:
        """Find a person's interests at a moment, from their own actions up to then alone."""
        newest = int(sequence.ts_ms[-1]) if len(sequence) else 0
        last = int(sequence.position.max()) if len(sequence) else 0
        key = (user_key, len(sequence), newest, last)
        with self._lock:
            profile = self._profiles.get(key)
            if profile is not None:
                self._profiles.move_to_end(key)
        if profile is None:
            profile = self._make_profile(user_key, user_id, sequence, at_ts_ms)
            with self._lock:
                self._profiles[key] = profile
                while len(self._profiles) > PROFILES_KEPT:
                    self._profiles.popitem(last=False)
        pause_ms = at_ts_ms - profile.ts_ms
        faded = fade(profile.interests, pause_ms, self._config.interests.decay_per_day)
        return replace(profile, interests=faded)

    def person_log(
        self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int
    ) -> PersonLog:
        """Give a person as journeys read them: what is worth something, and what they said, up to a moment."""
        assert self.journeys is not None
        telling = sequence.take(sequence.worth != 0)
        return PersonLog(
            user_key, user_id, telling.item_idx, telling.ts_ms, telling.worth,
            self._words(user_key, sequence, at_ts_ms), self.journeys.before(user_key),
        )  # fmt: skip

    def _words(self, user_key: int, sequence: UserSequence, at_ts_ms: int) -> Words:
        rows = self._store.action_words(sequence.position) if len(sequence) else None
        if rows is None or not rows.height:
            return Words()
        actions = self._done.get(user_key, at_ts_ms)
        names = self._store.action_names()
        steering = [key for key, name in enumerate(names, 1) if name.startswith(CONTROL_PREFIXES)]
        theirs = actions.position[np.isin(actions.action_key, steering)]
        rows = rows.filter(~pl.col("position").is_in(theirs.tolist()))
        when = dict(zip(sequence.position.tolist(), sequence.ts_ms.tolist(), strict=True))
        said = [
            (text, kind, when[position])
            for position, query, board in rows.rows()
            for text, kind in ((query, QUERY), (board, BOARD))
            if text and text.strip()
        ]
        said.sort(key=lambda one: one[2])
        return Words([s[0] for s in said], [s[1] for s in said], [s[2] for s in said])

    def find_journeys(
        self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int
    ) -> list[LiveJourney]:
        """Find a person's journeys at a moment, from their own actions up to then alone; the best first."""
        if self.journeys is None or not len(sequence):
            return []
        person = self.person_log(user_key, user_id, sequence, at_ts_ms)
        said = self._said.of(user_key, at_ts_ms, JOURNEY)
        muted = self._muted_interests(user_key, user_id, sequence, at_ts_ms)
        return self.journeys.of(person, said, at_ts_ms, muted)

    def _muted_interests(
        self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int
    ) -> MutedInterests | None:
        if not any(one.verb == MUTE for one in self._said.of(user_key, at_ts_ms)):
            return None
        profile = self.profile(user_key, user_id, sequence, at_ts_ms)
        rows = np.flatnonzero(profile.standing.muted).tolist()
        if not rows:
            return None
        members = [profile.interests.members(q) for q in rows]
        return MutedInterests([profile.labels[q] for q in rows], np.concatenate(members))

    def journey_view(
        self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int, only: str | None
    ) -> JourneyView | None:
        """Give a person's journeys as the stages of a feed read them.

        Raises
        ------
        NotFoundError
            If the person is not on the journey asked for.
        """
        found = self.find_journeys(user_key, user_id, sequence, at_ts_ms)
        row = next((j for j, one in enumerate(found) if one.found.id == only), -1)
        if only is not None and row < 0:
            raise NotFoundError(
                f"There is no journey {shorten(only)} of {shorten(user_id)}: give the id of one that "
                "`journeys` lists now.",
                field="journey",
            )
        if not found or self.journeys is None:
            return None
        if only is None:  # an ended journey brings nothing by itself
            found = [one for one in found if one.muted or one.found.stage.stage == ONGOING]
        if not found:
            return None
        return JourneyView(
            ids=[one.found.id for one in found],
            names=[one.name for one in found],
            muted=np.array([one.muted and one.found.id != only for one in found]),
            centres=np.stack([one.found.centre for one in found]),
            item_places=self.journeys.task.keywords.item_places,
            around=np.stack([self._around(one) for one in found]),
            only=row,
            again=self._again(sequence, at_ts_ms) if only is not None else np.zeros(0, np.float32),
        )

    def nearness(self, item_key: IntVector, to_item_key: IntVector) -> FloatVector:
        """Give how near items stand to the middle of others among journeys' places, shape [M]; -1 for the unknown."""
        near = np.full(len(item_key), -1.0, np.float32)
        if self.journeys is None:
            return near
        places = self.journeys.task.keywords.item_places
        to = to_item_key[to_item_key <= len(places)] - 1
        known = item_key <= len(places)
        near[known] = places[item_key[known] - 1] @ places[to].sum(axis=0)
        return near

    def _around(self, journey: LiveJourney) -> FloatVector:
        """Give the middle of a journey's items in the index's space, shape [D]."""
        items = journey.found.item_idx
        kept = items < len(self.vectors)
        total = journey.found.weight[kept] @ self.vectors[items[kept]]
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)

    def _again(self, sequence: UserSequence, at_ts_ms: int) -> FloatVector:
        """Give the log of how much each item was wanted, where items may come back, shape [N]."""
        if self._config.feed.repeat == "exclude" or not len(sequence):
            return np.zeros(0, np.float32)
        wanted = sequence.take((sequence.worth > 0) & (sequence.item_idx < len(self.vectors)))
        age = (int(sequence.ts_ms[-1]) - wanted.ts_ms) / (
            DAY_MS * self._config.journeys.half_life_days
        )
        total = np.bincount(wanted.item_idx, wanted.worth * 0.5**age, len(self.vectors))
        return np.log1p(total).astype(np.float32)

    def try_interests(
        self,
        user_key: int,
        profile: Profile,
        at_ts_ms: int,
        rng: np.random.Generator | None = None,
        *,
        past: bool,
        sample: int,
    ) -> Trying:
        """Weigh a person's interests by what came of showing them up to a moment.

        Everybody's mean rate is today's, or for a question about the ``past`` that of the build: today's would tell of
        what came later.
        """
        config = self._config.rewards
        everybodys = (
            float(self.manifest.get("mean_reward", 0.0))
            if past
            else mean_rate(self._store.totals(), self.worths)
        )
        feedback = self._store.user_feedback(
            user_key, until_ts_ms=at_ts_ms, requests=config.requests
        )
        return try_interests(
            feedback,
            profile.interests,
            profile.standing,
            self.vectors,
            self.worths,
            everybodys_mean=everybodys,
            at_ts_ms=at_ts_ms,
            config=config,
            sample=sample,
            rng=rng,
        )

    def _make_profile(
        self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int
    ) -> Profile:
        found = self._live.of(user_key, user_id, sequence, at_ts_ms)
        interests = found.interests
        every = range(len(interests))
        labels = self._labeller.label_all(
            [interests.members(q) for q in every],
            [interests.weights(q) for q in every],
            interests.medoid_item_idx.tolist(),
        )
        controls = self._said.of(user_key, at_ts_ms)
        standing = settle(found.ids, [interests.members(q) for q in every], controls)
        named = [own or label for own, label in zip(standing.name, labels, strict=True)]
        return Profile(interests, found.ids, named, standing, found.ts_ms)
