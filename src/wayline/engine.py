"""Engine: the one facade that wires a workspace together."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl

from wayline.access import Access
from wayline.answering import (
    interest_records,
    journey_records,
    sequence_records,
)
from wayline.at_large import AtLarge
from wayline.builder import INTERESTS, build_generation
from wayline.catalogue import Catalogue
from wayline.clock import At, Clock, to_ts_ms, wall_clock
from wayline.config import resolve_config
from wayline.errors import (
    InputError,
    NoGenerationError,
    NotFoundError,
    NoWorkspaceError,
    WaylineError,
    WorkspaceError,
    WorkspaceLockedError,
    shorten,
)
from wayline.explaining import explained, traced_of
from wayline.intake import Chunk, ColumnMap, read_actions, read_items, validate_actions
from wayline.interests.controls import INTEREST, JOURNEY, control_rows
from wayline.journey_builder import UNFINISHED, rebuild_journeys
from wayline.journeys.building import JOURNEYS
from wayline.log_columns import Progress
from wayline.notifications.copy import Shown
from wayline.notifications.run import Delivered
from wayline.notifications.wishes import WishLog
from wayline.notifying import TEMPLATES, Notifying, shown
from wayline.recipes import Dial, check_edits, dials, tuned
from wayline.retrieval.recipe import plain_recipe
from wayline.schema import (
    NO_ITEM,
    NOT_INTERESTED,
    ActionRecord,
    Feed,
    FloatMatrix,
    Generation,
    Interest,
    IntVector,
    ItemRecord,
    Journey,
    Notification,
    Receipt,
    Sequences,
    SimilarItem,
    Variant,
)
from wayline.sequences.history import Worths
from wayline.sequences.tokens import ActionBits, token_sequences
from wayline.served import ServedGeneration
from wayline.serving import MAX_LIMIT, Serving, check_limit
from wayline.settings import list_settings
from wayline.storage.disk import full_disk_said
from wayline.storage.generations import Generations
from wayline.storage.store import open_store
from wayline.storage.underway import Underway, Work
from wayline.storage.vector_index import NO_KEY
from wayline.supposing import Supposed
from wayline.workspace import SETTINGS, copying, create_workspace, refuse_inside, refuse_taken

OnChunk = Callable[[Receipt, ColumnMap], None]
TOLD_OF = 4  # items of a journey's feed that a message chooses from, for each that it shows
MAX_ACTIONS = 1_000_000
LATELY = 5_000  # newest actions, among which those are looked for who acted last
TRIES = 20  # at finding somebody who was not forgotten


def open(
    path: str | Path,
    *,
    create: bool = False,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    clock: Clock | None = None,
) -> Engine:
    """Open a workspace.

    Parameters
    ----------
    path : path
        A directory with ``wayline.toml`` and ``data/``.
    create : bool
        Make it if it is not there.
    config : mapping, optional
        ``{"section": {"key": value}}``, over ``wayline.toml`` and the environment.
    clock : callable, optional
        Gives now in UTC milliseconds; by default what ``time.clock`` says.

    Raises
    ------
    NoWorkspaceError, NewerWorkspaceError, WorkspaceLockedError, ConfigError
    """
    folder = Path(path)
    if not (folder / SETTINGS).exists() and not (folder / "data").is_dir():
        if not create:
            raise NoWorkspaceError(
                f"There is no workspace at {str(folder)!r}: make one with `wayline init {folder}`."
            )
        create_workspace(folder)
    return Engine(folder, config=config, clock=clock)


def restore(backup: str | Path, target: str | Path) -> Path:
    """Bring a backup back as a workspace; the target must not exist or be empty."""
    source, folder = Path(backup), Path(target)
    if not (source / "data").is_dir():
        raise NoWorkspaceError(f"{str(source)!r} is no backup: give what `wayline backup` made.")
    refuse_taken(folder, "restore")
    with copying(folder):
        shutil.copytree(source, folder, dirs_exist_ok=True)
    with Engine(folder) as engine:
        problems = engine.doctor()
    if problems:
        raise WorkspaceError(f"The backup is damaged ({problems[0]}): restore an older one.")
    return folder


class Engine:
    """One open workspace: hand actions and items in, ask for interests and feeds.

    Safe to use from many threads; several processes may have one workspace open. Use ``wayline.open``.
    """

    def __init__(
        self,
        path: Path,
        *,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.path = path
        resolved = resolve_config(path / SETTINGS, config)
        self.config = resolved.config
        self.settings = list_settings(resolved)  # for people: each with where it came from
        plain_recipe().pinned(self.config.recipe.pins)  # a wrong name is said now, not by each feed
        self.store = open_store(path, create=True)
        self.access = Access(self.store)  # API keys: who may call a server over this workspace
        self._generations = Generations(path / "data" / "generations")
        self._underway = Underway(self._generations.root)
        self._serving = Serving(
            self.store, self._generations, self.config, clock=clock, build=lambda: self.build().id
        )
        self.recipes = self._serving.recipes  # what the team set over the recipe, by version
        self.traces, self.counters = self._serving.traces, self._serving.counters
        self.catalogue = Catalogue(
            self.store, self._served_if_built
        )  # items found and looked after
        self._wishes = WishLog(self.store)
        self.at_large = AtLarge(  # what holds of everybody: the pages that ask need no one person
            self.store, self._generations, self.config, now=self.now, flush=self.traces.flush
        )
        self._no_item_hidden = False
        self._closed = False

    # -- in ------------------------------------------------------------------------------------------------------------

    def add_items(self, items: Any, *, mapping: Mapping[str, str] | None = None) -> Receipt:
        """Add items or change what is said about them.

        Parameters
        ----------
        items
            A file, a polars, pandas or Arrow table, or rows as dicts: ``item_id`` and any of title, description,
            category, tags, image_url, created_at, hidden; other columns become attributes.
        mapping : mapping, optional
            ``{"item_id": "StockCode"}`` where a name cannot be guessed.
        """

        def write(chunk: Chunk) -> tuple[int, int]:
            self.store.upsert_items(chunk.frame)
            return chunk.frame.height, 0

        receipt = self._take_in(read_items(items, mapping=mapping), write, None)
        self.counters["items_accepted"] += receipt.accepted
        return receipt

    def add_actions(
        self,
        actions: Any,
        *,
        mapping: Mapping[str, str] | None = None,
        on_chunk: OnChunk | None = None,
    ) -> Receipt:
        """Append actions; on disk and seen by the next feed when this returns. Sending one again changes nothing.

        Parameters
        ----------
        actions
            A file, a table, or rows as dicts: ``user_id, item_id, ts``, mostly ``action``, and any of value, surface,
            request_id, action_id, query, board.
        mapping : mapping, optional
            ``{"user_id": "CustomerID"}`` where a name cannot be guessed.
        on_chunk : callable, optional
            Called after each stored chunk with the receipt so far and the columns used.
        """
        now = wall_clock()
        if isinstance(actions, list):  # rows of one request: the short way
            chunks: Iterable[Chunk] = [validate_actions(actions, now_ts_ms=now, mapping=mapping)]
        else:
            chunks = read_actions(actions, mapping=mapping, now_ts_ms=now)

        def write(chunk: Chunk) -> tuple[int, int]:
            if "request_id" in chunk.frame.columns:
                self.traces.flush_answered(chunk.frame["request_id"].drop_nulls().unique())
            if not self._no_item_hidden and (chunk.frame["item_id"] == NO_ITEM).any():
                self.store.upsert_items(pl.DataFrame({"item_id": [NO_ITEM], "hidden": [True]}))
                self._no_item_hidden = True
            done = self.store.append_actions(chunk.frame.drop("row"))
            return done.accepted, done.duplicates

        receipt = self._take_in(chunks, write, on_chunk)
        self.counters["actions_accepted"] += receipt.accepted
        return receipt

    def _take_in(
        self,
        chunks: Iterable[Chunk],
        write: Callable[[Chunk], tuple[int, int]],
        on_chunk: OnChunk | None,
    ) -> Receipt:
        receipt = Receipt()
        for chunk in chunks:
            accepted, duplicates = write(chunk) if chunk.frame.height else (0, 0)
            receipt = Receipt(
                receipt.accepted + accepted,
                receipt.duplicates + duplicates,
                receipt.rejected + chunk.rejections,
                receipt.warnings + [w for w in chunk.warnings if w not in receipt.warnings],
            )
            if on_chunk:
                on_chunk(receipt, chunk.columns)
        return receipt

    # -- generations ---------------------------------------------------------------------------------------------------

    def build(self, *, until: At | None = None, progress: Progress | None = None) -> Generation:
        """Make a generation from the log and use it from now on.

        Parameters
        ----------
        until : time, optional
            Use no action later than this.
        progress : callable, optional
            Called with the step's name and the share of it that is done.
        """
        with self._at_work("build", progress) as (tell, work):
            work.said = id_ = build_generation(
                self.store,
                self._generations,
                self.config,
                until_ts_ms=None if until is None else to_ts_ms(until),
                now_ts_ms=wall_clock(),
                cache=self.path / "data" / "cache",
                progress=tell,
            )
        self._serving.keeper.offer_all()
        return self._generation(id_)

    def build_journeys(
        self, *, since: At | None = None, learn: bool = False, progress: Progress | None = None
    ) -> Generation:
        """Find journeys anew on the generation in use, and serve it with them; a generation is built where none is.

        Parameters
        ----------
        since : time, optional
            Only of people with an action at or after this: they get what a run for all would give them.
        learn : bool
            Learn their order anew as well, from everybody's actions and answers to notifications up to now.
        progress : callable, optional
            Called with what is done and the share of it.
        """
        if self._generations.current() is None:
            return self.build(progress=progress)
        with self._at_work("journeys", progress) as (tell, work):
            work.said = id_ = rebuild_journeys(
                self.store, self._generations, self.config,
                since_ts_ms=None if since is None else to_ts_ms(since), learn=learn,
                now_ts_ms=wall_clock(),
                cache=self.path / "data" / "cache",
                progress=tell,
            )  # fmt: skip
        return self._generation(id_)

    def train(self, *, go_on: bool = False, progress: Progress | None = None) -> Generation:
        """Learn a ranker from the log, and serve it from now on if people's next actions say that it is better.

        Builds a generation first where there is none. ``metrics["ranker"]`` of what comes back says what was decided
        and why; where the ranker is not better, the generation in use stays as it is.

        Parameters
        ----------
        go_on : bool
            Start from the ranker in use and learn from the newest part of the log alone.
        progress : callable, optional
            Called with the step's name and the share of it that is done.

        Raises
        ------
        TooLittleToTrainError
            If the log holds too little; what served before goes on serving.
        MissingPackageError
            If torch or safetensors are not installed.
        """
        from wayline.trainer import require_packages, train_generation

        require_packages()

        if self._generations.current() is None:
            self.build(progress=progress)
        with self._at_work("training", progress) as (tell, work):
            trained = train_generation(
                self.store,
                self._generations,
                tuned(self.config, self.recipes.current().edits),  # it has to beat what serves
                now_ts_ms=wall_clock(),
                cache=self.path / "data" / "cache",
                progress=tell,
                go_on=go_on,
            )
            work.said = f"{trained.generation}: {trained.report['why']}"
        found = self._generation(trained.generation)
        return replace(found, metrics={**found.metrics, "ranker": trained.report})

    @contextmanager
    def _at_work(self, kind: str, progress: Progress | None) -> Iterator[tuple[Progress, Work]]:
        """Hold the lock of what makes generations, and write down how far it is."""
        with (
            full_disk_said(self.path),
            self._generations.lock(),
            self._underway.writing(kind, progress) as both,
        ):
            yield both

    def underway(self) -> Work | None:
        """The newest build or training of any process, how far it is, and its log; None where there never was one."""
        return self._underway.read()

    def rollback(self) -> Generation:
        """Go back to the newest sound generation before the current one."""
        with self._generations.lock():
            return self._generation(self._generations.rollback())

    def generations(self) -> list[Generation]:
        """All generations kept that can be read, oldest first."""
        out = []
        for id_ in self._generations.list():
            with suppress(WorkspaceError):  # `broken_generations` tells
                out.append(self._generation(id_))
        return out

    def broken_generations(self) -> dict[str, str]:
        """Generations with a file missing or cut short, and the first thing wrong; ``doctor`` reads all of them."""
        found = {id_: self._generations.glance(id_) for id_ in self._generations.list()}
        return {id_: wrong[0] for id_, wrong in found.items() if wrong}

    def current_generation(self) -> str | None:
        """The id of the generation in use, None before the first build."""
        return self._generations.current()

    def _generation(self, id_: str) -> Generation:
        _, m = self._generations.open(id_)
        return Generation(
            id_,
            created_at=int(m["created_at"]),
            position=int(m["position"]),
            until=int(m["until"]),
            items=int(m["items"]),
            users=int(m["users"]),
            actions=int(m["actions"]),
            metrics=m["metrics"],
            recipe=m["recipe"],
            seconds=m["seconds"],
        )

    def _served_if_built(self) -> ServedGeneration | None:
        return None if self._generations.current() is None else self._serving.generation()

    # -- out -----------------------------------------------------------------------------------------------------------

    def share_cores(self) -> None:
        """Let each request take one thread, as ``wayline serve`` does: of the whole process, so not where it builds."""
        self._serving.share_cores()

    def now(self, at: At | None = None) -> int:
        """The moment a request is about: ``at``, or now by the workspace's clock."""
        return self._serving.now(at)

    def interests(
        self, user_id: str, *, at: At | None = None, supposing: Supposed | None = None
    ) -> list[Interest]:
        """What a person is interested in, the most important first; empty for somebody unknown.

        ``supposing`` is what they are taken to have done as well: see ``feed``.
        """
        user_key = self._user_key(user_id) or 0
        served = self._serving.view(user_key, at, supposing)
        sequence, moment = self._serving.sequence(served, user_key, at)
        profile = served.profile(user_key, user_id, sequence, moment)
        sample = self._serving.mix(served)[0].interests.sample
        trying = served.try_interests(user_key, profile, moment, past=at is not None, sample=sample)
        return interest_records(profile, trying, self.store.item_ids)

    def journeys(
        self,
        user_id: str,
        *,
        at: At | None = None,
        limit: int | None = None,
        supposing: Supposed | None = None,
    ) -> list[Journey]:
        """What journeys a person is on, the best first; empty for somebody unknown, or of whom too little is known.

        Parameters
        ----------
        at : time, optional
            As of then: no later action is seen.
        limit : int, optional
            At most so many; ``journeys.limit`` if not given.
        supposing : sequence of mapping, optional
            What they are taken to have done as well: see ``feed``.
        """
        most = check_limit(self.config.journeys.limit if limit is None else limit, MAX_LIMIT)
        user_key = self._user_key(user_id) or 0
        served = self._serving.view(user_key, at, supposing)
        sequence, moment = self._serving.sequence(served, user_key, at)
        found = served.find_journeys(user_key, user_id, sequence, moment)
        return journey_records(found, served, self.store, most)

    def change_journey(
        self,
        user_id: str,
        journey_id: str,
        *,
        name: str | None = None,
        muted: bool | None = None,
        boost: float | None = None,
        reset: bool = False,
    ) -> Journey:
        """Let a person steer one of their journeys: it holds from the next answer on, and through every build.

        Parameters
        ----------
        name : str, optional
            Their own name for it; empty for the automatic one.
        muted : bool, optional
            Show nothing of it, and tell nothing of it.
        boost : float, optional
            0.1 (less) to 10 (more); 1 is as it was.
        reset : bool
            Take the person's own words about it back.

        Raises
        ------
        NotFoundError
            If the person is on no such journey.
        InputError
            If nothing is said, or a value is not one.
        """
        found = next(
            (j for j in self.journeys(user_id, limit=MAX_LIMIT) if j.id == journey_id), None
        )
        if found is None:
            raise NotFoundError(
                f"There is no journey {shorten(journey_id)} of {shorten(user_id)}: give the id of one that "
                "`journeys` lists now.",
                field="journey",
            )
        rows = control_rows(
            JOURNEY, user_id, journey_id, found.evidence[0].item_id, self.now(),
            label=name, muted=muted, boost=boost, reset=reset,
        )  # fmt: skip
        self.add_actions(rows)
        return next(
            (j for j in self.journeys(user_id, limit=MAX_LIMIT) if j.id == journey_id), found
        )

    def change_interest(
        self,
        user_id: str,
        interest_id: str,
        *,
        label: str | None = None,
        muted: bool | None = None,
        boost: float | None = None,
        reset: bool = False,
    ) -> Interest:
        """Let a person steer one of their interests: it holds from the next feed on, and through every build.

        Parameters
        ----------
        label : str, optional
            Their own name for it; empty for the automatic one.
        muted : bool, optional
            Show nothing of it.
        boost : float, optional
            0.1 (less) to 10 (more); 1 is as it was.
        reset : bool
            Take the person's own words about it back, and what feedback said of it.

        Raises
        ------
        NotFoundError
            If the person has no such interest.
        InputError
            If nothing is said, or a value is not one.
        """
        found = next((i for i in self.interests(user_id) if i.id == interest_id), None)
        if found is None:
            raise NotFoundError(
                f"There is no interest {shorten(interest_id)} of {shorten(user_id)}: give the id of one that "
                "`interests` lists now.",
                field="interest",
            )
        rows = control_rows(
            INTEREST, user_id, interest_id, found.medoid, self.now(),
            label=label, muted=muted, boost=boost, reset=reset,
        )  # fmt: skip
        self.add_actions(rows)
        return next((i for i in self.interests(user_id) if i.id == interest_id), found)

    def not_interested(self, user_id: str, item_id: str) -> Receipt:
        """Let a person turn one item down: it does not come back, and its interest counts for less.

        Raises
        ------
        NotFoundError
            If no item and no action ever named the item.
        """
        self._item_key(item_id)
        row = {"user_id": _id("user_id", user_id), "item_id": item_id, "action": NOT_INTERESTED}
        return self.add_actions([{**row, "ts": self.now()}])

    def notifications(self, user_id: str, *, at: At | None = None) -> list[Notification]:
        """What a person would be told (status "planned"), then what they were told, newest first.

        Raises
        ------
        TemplateError, ConfigError
            If a template or a setting of ``[notifications]`` cannot be used.
        """
        self._user_key(user_id)
        return self.notifying(at).of(user_id, None if at is None else to_ts_ms(at))

    def notify(
        self, user_ids: Sequence[str] | None = None, *, limit: int | None = None
    ) -> Delivered:
        """Tell people about their journeys by the configured channel, and deliver what earlier runs left.

        Parameters
        ----------
        user_ids : sequence of str, optional
            Whom to plan for; everybody active if not given.
        limit : int, optional
            At most so many new ones, those of the highest score.

        Raises
        ------
        WorkspaceLockedError
            If another delivery is under way.
        TemplateError, ConfigError
            Before anything is queued or sent.
        """
        return self.notifying().send(user_ids, limit=limit)

    def notifying(self, at: At | None = None) -> Notifying:
        """The workspace's notifications, wired to its journeys and items as of a moment."""
        return Notifying(
            self.path,
            self.config,
            self.store,
            clock=self.now,
            wishes=self._wishes,
            journeys=partial(self._worth_telling, at=at),
            items_of=partial(self._journey_items, at=at),
        )

    def _worth_telling(self, user_id: str, *, at: At | None) -> list[Journey]:
        """A person's journeys, each scored by how welcome a word on it would be rather than by what they do next."""
        teller = self._serving.generation().teller
        return [
            replace(one, score=teller.score_of(one.features) * one.boost)
            for one in self.journeys(user_id, at=at, limit=MAX_LIMIT)
        ]

    def _journey_items(
        self, user_id: str, journey: Journey, limit: int, *, at: At | None
    ) -> list[Shown]:
        """What to show of a journey: of the first of its own feed those that are most on it; nobody is shown them yet.

        The feed begins with what is wanted, on the journey or nearly so. A message names few items, and has to be about
        what it says. Nothing where an action, or a build, has ended the journey since it was read.
        """
        try:
            wider = min(TOLD_OF * limit, MAX_LIMIT)
            user_key = self._user_key(user_id) or 0
            feed = self._serving.answer(user_key, user_id, limit=wider, at=at, journey=journey.id)[
                0
            ]
        except NotFoundError:
            return []
        keys = self.store.item_keys([item.item_id for item in feed.items])
        own = self.store.item_keys([one.item_id for one in journey.evidence])
        near = self._serving.generation().nearness(keys, own)
        keys = keys[np.sort(np.argsort(-near, kind="stable")[:limit])]
        return [shown(r.item_id, r.title, r.image_url) for r in self.store.item_records(keys)]

    def feed(
        self,
        user_id: str,
        *,
        limit: int | None = None,
        at: At | None = None,
        surface: str | None = None,
        cursor: str | None = None,
        journey: str | None = None,
        supposing: Supposed | None = None,
    ) -> Feed:
        """What a person's home feed should show next. Somebody unknown gets what is wanted now and what is new.

        Parameters
        ----------
        limit : int, optional
            1 to 500; ``feed.limit`` if not given.
        at : time, optional
            As of then: no later action is seen.
        surface : str, optional
            Where it is shown; kept with the impressions.
        cursor : str, optional
            Of the page before: the next page shows none of its items again, and is about the same ``at``.
        journey : str, optional
            The feed of this journey of theirs alone; it ends where the journey does.
        supposing : sequence of mapping, optional
            A look, of which nothing is kept or counted: what the feed would be had they just done this as well (rows
            of ``item_id`` and ``action``, controls too). Empty: what it would be now.

        Raises
        ------
        NotFoundError
            If the person is on no such journey, or an item of ``supposing`` is unknown.
        InputError
            If ``supposing`` is not that, or comes with ``at`` or a cursor.
        """
        if supposing is not None and (at is not None or cursor is not None):
            raise InputError(
                "Got supposing with at or a cursor, expected it alone: what is supposed is done now."
            )
        feed, trace = self._serving.answer(
            self._user_key(user_id) or 0, user_id, limit=limit, at=at, surface=surface, cursor=cursor,
            journey=journey, supposing=supposing,
        )  # fmt: skip
        if supposing is None:
            self.traces.add(trace)
        return feed

    def look(
        self, user_id: str, *, supposing: Supposed = (), limit: int | None = None
    ) -> tuple[Feed, dict[str, Any]]:
        """Give ``feed`` as a look, of which nothing is kept, and the decision behind it as ``explain`` has it."""
        feed, trace = self._serving.answer(
            self._user_key(user_id) or 0, user_id, limit=limit, supposing=supposing
        )
        return feed, explained(traced_of(trace), self.store)

    def compare_feeds(
        self, user_id: str, left: Variant, right: Variant, *, limit: int | None = None
    ) -> tuple[Feed, Feed]:
        """What a person's feed would be now by one recipe or generation and by another; a look, nothing is kept.

        Raises
        ------
        ConfigError
            If an edit is none, or out of range.
        NotFoundError
            If a generation is not kept.
        """
        user_key, moment = self._user_key(user_id) or 0, self.now()
        sides = [
            self._serving.answer(
                user_key, user_id, limit=limit, supposing=[], variant=variant, moment=moment
            )[0]
            for variant in (left, right)
        ]
        return sides[0], sides[1]

    def dials(self, edits: Mapping[str, Any] | None = None) -> list[Dial]:
        """Every setting of a feed that may be edited, with its value by the generation in use.

        Parameters
        ----------
        edits : mapping, optional
            Instead of those in use (``engine.recipes.current()``).
        """
        served = self._serving.generation()
        checked = self.recipes.current().edits if edits is None else check_edits(edits)
        return dials(served.built_recipe, self.config, checked, served.head_names())

    def ranker_shares(self) -> dict[str, float]:
        """What a learned ranker has of the order, by regime, the recipe having the rest; empty without one."""
        learned = self._serving.generation().learned
        return {} if learned is None else dict(learned.ranker.description.regimes)

    def actions(
        self, user_id: str, *, limit: int = 100, at: At | None = None
    ) -> list[ActionRecord]:
        """A person's actions, newest first; empty for somebody unknown."""
        check_limit(limit, MAX_ACTIONS)
        until = None if at is None else to_ts_ms(at)
        self._user_key(user_id)
        return self.store.action_records(user_id, until_ts_ms=until, limit=limit)

    def sequences(self, user_id: str, *, at: At | None = None) -> Sequences:
        """What models read of a person: tokens of what they did (``[sequences]`` says how many), and of what was shown.

        Several actions on an item within ``sequences.collapse_s`` are one token. Empty for somebody unknown.
        """
        until = None if at is None else to_ts_ms(at)
        user_key = self._user_key(user_id) or 0
        self._serving.histories.follow_log()
        self.traces.flush()
        config = self.config.sequences
        shown = self.store.user_impressions(user_key, until_ts_ms=until, limit=config.impressions)
        bits = ActionBits(self.store.action_names())
        actions = self._serving.histories.get(user_key, until)
        surfaces = self.store.action_surfaces(actions.position)
        found = token_sequences(actions, shown, bits, config, surface_key=surfaces)
        return sequence_records(found, bits, self.store)

    def item(self, item_id: str) -> ItemRecord:
        """One item of the catalogue.

        Raises
        ------
        NotFoundError
            If no item and no action ever named it.
        """
        return self.store.item(self._item_key(item_id))

    def similar(self, item_id: str, *, limit: int = 10) -> list[SimilarItem]:
        """The items nearest to one, by their vectors; empty for an item that has none yet."""
        check_limit(limit, MAX_LIMIT)
        key = self._item_key(item_id)
        served = self._serving.generation()
        row = key - 1
        if row >= len(served.usable) or not served.usable[row] or len(served.index) == 0:
            return []
        hidden = served.hidden()
        # Hidden ones may stand among the nearest until the next build takes them out of the index.
        k = limit + 1 + min(int(hidden.sum()), MAX_LIMIT)
        found = served.index.search(np.asarray(served.vectors[row : row + 1]), k)
        pairs = [
            (int(k), float(s))
            for k, s in zip(found.keys[0], found.similarities[0], strict=True)
            if k not in (NO_KEY, row) and not hidden[k]
        ][:limit]
        records = self.store.item_records(np.array([k for k, _ in pairs], np.int64) + 1)
        return [
            SimilarItem(r.item_id, round(s, 4), r.title)
            for r, (_, s) in zip(records, pairs, strict=True)
        ]

    def item_vectors(self, item_ids: Sequence[str]) -> FloatMatrix:
        """The vectors of some items in the generation in use, shape [N, D]; zeros for one that has none."""
        served = self._serving.generation()
        keys = self.store.item_keys(list(item_ids))
        known = np.flatnonzero((keys > 0) & (keys <= len(served.usable)))
        known = known[served.usable[keys[known] - 1]]
        out = np.zeros((len(keys), served.vectors.shape[1]), np.float32)
        out[known] = served.vectors[keys[known] - 1]
        return out

    def item_titles(self, item_ids: Sequence[str]) -> dict[str, str]:
        """What people call some items: their titles, else their ids."""
        keys = self.store.item_keys(list(item_ids))
        known = np.flatnonzero(keys > 0)
        records = self.store.item_records(keys[known])
        titles = {record.item_id: record.title for record in records}
        return {item_id: titles.get(item_id) or item_id for item_id in item_ids}

    def item_images(self, item_ids: Sequence[str]) -> dict[str, str]:
        """The addresses of some items' pictures, of those that have one."""
        keys = self.store.item_keys(list(item_ids))
        records = self.store.item_records(keys[keys > 0])
        return {record.item_id: record.image_url for record in records if record.image_url}

    def anybody(self, seed: int | None = None) -> str | None:
        """Somebody of whom the log knows, drawn by chance; None where there is nobody.

        Preferably one who wanted something: of a person who only sent things back there is little to see.
        """
        last = self.store.count_users()
        if not last:
            return None
        served = None
        with suppress(WaylineError):  # a damaged generation is told where it is asked
            served = self._served_if_built()
        keys = np.random.default_rng(seed).integers(1, last + 1, TRIES)
        found = None
        for key, user_id in zip(keys.tolist(), self.store.user_ids(keys), strict=True):
            if not user_id:  # was forgotten
                continue
            if served is None or len(served.sequence(key, None).wanted()):
                return user_id
            found = found or user_id
        return found

    def people(self, query: str = "", *, limit: int = 20) -> list[str]:
        """Find people by a part of their id, those whose id begins with it first; without one, who acted last.

        Parameters
        ----------
        query : str
            Small and large letters are the same.
        limit : int
            At most so many.
        """
        most, text = check_limit(limit, MAX_LIMIT), _id("query", query).strip()
        if text:
            return self.store.find_users(text, limit=most)
        keys: list[int] = []
        for actions in self.store.scan_actions(after=max(self.store.position() - LATELY, 0)):
            keys += actions.user_key.tolist()
        found = self.store.user_ids(np.array([*dict.fromkeys(reversed(keys))], np.int64))
        return [user_id for user_id in found if user_id][:most]

    def _user_key(self, user_id: str) -> int | None:
        return self.store.user_key(_id("user_id", user_id))

    def _item_key(self, item_id: str) -> int:
        key = self.store.item_key(_id("item_id", item_id))
        if key is None:
            raise NotFoundError(
                f"There is no item {shorten(item_id)}: check the id, or add it first.",
                field="item_id",
            )
        return key

    def request(self, request_id: str) -> dict[str, Any]:
        """One answered feed request as it was traced, with ids instead of keys.

        Raises
        ------
        NotFoundError
            If it is unknown.
        """
        found = self._traced(request_id)
        for name in ("queries", "via", "features", "ranked", "tokens"):
            found.pop(name)  # keys and numbers for `explain`
        for name in ("dropped_item_keys", "passed_over"):
            found["trace"].pop(name, None)
        keys = np.array([i.pop("item_key") for i in found["impressions"]], np.int64)
        for impression, item_id in zip(
            found["impressions"], self.store.item_ids(keys), strict=True
        ):
            impression["item_id"] = item_id
        user_ids = self.store.user_ids(np.array([found.pop("user_key")], np.int64))
        return {"user_id": user_ids[0], **found}

    def explain(self, request_id: str) -> dict[str, Any]:
        """Give the whole decision behind one feed: interests drawn and their odds, candidates by source, what each
        filter removed, each item's score in parts, and the actions that answered it.

        Raises
        ------
        NotFoundError
            If the request is unknown.
        """
        return explained(self._traced(request_id), self.store)

    def newest_requests(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """Give the feeds that were answered last, the newest first: ``request_id, user_id, ts, surface, items``.

        ``user_id`` is empty where nobody known asked; ``items`` is how many were shown.
        """
        check_limit(limit, MAX_LIMIT)
        self.traces.flush()
        found = self.store.newest_requests(limit=limit)
        users = self.store.user_ids(np.array([row[1] for row in found], np.int64))
        return [
            {"request_id": id_, "user_id": user_id, "ts": ts_ms, "surface": surface, "items": shown}
            for (id_, _, ts_ms, surface, shown), user_id in zip(found, users, strict=True)
        ]

    def _traced(self, request_id: str) -> dict[str, Any]:
        self.traces.flush()
        found = self.store.request(request_id)
        if found is None:
            raise NotFoundError(
                f"There is no request {shorten(request_id)}: give the request_id of a feed.",
                field="request_id",
            )
        return found

    # -- care ----------------------------------------------------------------------------------------------------------

    def forget(self, user_id: str) -> dict[str, int]:
        """Remove a person everywhere, now; what was counted over everybody goes with the next build.

        May be repeated: what a first try could not reach (a build was running) goes with the next.
        """
        user_key = self._user_key(user_id)
        self.traces.flush()
        if user_key is not None:
            self.traces.drop_user(user_key)
        removed = self.store.forget_user(user_id)
        self._serving.forget_everybody()
        self._wishes = WishLog(self.store)
        try:
            with self._generations.lock():
                shutil.rmtree(self.path / "data" / "cache" / UNFINISHED, ignore_errors=True)
                for name, file in (("interests", INTERESTS), ("journeys", JOURNEYS)):
                    removed[name] = self._forget_in_generations(file)
        except WorkspaceLockedError:
            raise WorkspaceLockedError(
                "The person's actions are gone, but a build is running, which holds their "
                "interests and journeys: forget them once more when it has ended."
            ) from None
        return removed

    def _forget_in_generations(self, file: str) -> int:
        """Take forgotten people out of a table of every kept generation; gives how many rows went."""
        removed = 0
        for id_ in self._generations.list():
            path, _ = self._generations.open(id_)
            if not (path / file).exists():
                continue
            rows = pl.read_parquet(path / file)
            ids = self.store.user_ids(rows["user_key"].to_numpy())
            kept = rows.filter(pl.Series(ids, dtype=pl.String) != "")
            if kept.height < rows.height:
                removed += rows.height - kept.height
                self._generations.amend(id_, file, kept.write_parquet)
        return removed

    def export(self, user_id: str | None = None) -> dict[str, Any]:
        """Everything kept about one person, or a summary of the workspace's counts, as plain data."""
        if user_id is None:
            return self.stats()
        actions = self.store.action_records(_id("user_id", user_id), limit=None)
        known = self._generations.current() is not None and actions
        return {
            "user_id": user_id,
            "actions": [asdict(a) for a in actions],
            "interests": [asdict(i) for i in self.interests(user_id)] if known else [],
            "journeys": [asdict(j) for j in self.journeys(user_id, limit=MAX_LIMIT)]
            if known
            else [],
            "requests": self._requests(user_id),
            "notifications": self._notifications(user_id),
        }

    def _requests(self, user_id: str) -> list[dict[str, Any]]:
        """What was shown to a person, the oldest answer first."""
        user_key = self._user_key(user_id)
        if user_key is None:
            return []
        self.traces.flush()
        return [self.request(request_id) for request_id in self.store.user_requests(user_key)]

    def _notifications(self, user_id: str) -> list[dict[str, Any]]:
        """What a person was told, newest first, and what became of it."""
        kept = self.store.user_notifications(self._user_key(user_id) or 0)
        return [{k: v for k, v in asdict(row).items() if k != "user_key"} for row in kept]

    def stats(self) -> dict[str, Any]:
        """Counts and states, for health checks and metrics."""
        current = self._generations.current()
        position = self.store.position()
        out: dict[str, Any] = {
            "users": self.store.count_users(),
            "items": self.store.count_items(),
            "actions": self.store.count_actions(),
            "position": position,
            "newest_ts": self.store.newest_ts_ms(),
            "generation": current,
            "unwritten_trace_failures": self.traces.failures,
            "lost_traces": self.traces.lost,
            "counters": dict(self.counters),
            "latency": self._serving.latency(),
            "histories": self._serving.histories.stats(),
            "packing": self._serving.keeper.stats(),
            "ranker": self._ranker_stats(),
            "notifications": self.store.count_notifications(),
        }
        if current is not None:
            generation = self._generation(current)
            out["generation_age_s"] = max(wall_clock() - generation.created_at, 0) // 1000
            out["lag"] = max(position - generation.position, 0)
        return out

    def _ranker_stats(self) -> dict[str, int]:
        """What learned rankers did since the workspace was opened, and whether the one in use cannot be read."""
        served = self._serving.opened
        return {
            "feeds": self.counters["ranked_feeds"],
            "candidates": self.counters["ranked_candidates"],
            "shortened": self.counters["ranked_shortened"],
            "failed": self.counters["degraded:scorer:ranker"],
            "unusable": int(served is not None and bool(served.ranker_trouble)),
        }

    def doctor(self, *, leaks: bool = False) -> list[str]:
        """What is wrong with the workspace, one line each; empty when all is well.

        Parameters
        ----------
        leaks : bool
            Also check on the log itself that nothing a ranker learns from looks ahead; takes about as long as a build.
        """
        problems = self.store.check()
        for id_ in self._generations.list():
            problems += self._generations.verify(id_)
        current = self._generations.current()
        if current is not None and current not in self._generations.list():
            problems.append(f"The current generation {current} is missing: run `wayline build`.")
        if leaks:
            from wayline.trainer import find_workspace_leaks

            cache = self.path / "data" / "cache"
            problems += find_workspace_leaks(
                self.store, self._generations, self.config, cache=cache
            )
        return problems

    def unknown_actions(self) -> list[str]:
        """Names of actions in the log that the settings give no worth."""
        return Worths(self.config.actions, self.store.action_names()).unknown

    def backup(self, target: str | Path) -> Path:
        """Copy the workspace as of now, while it is in use, to a new folder outside of it."""
        folder = Path(target)
        with copying(folder):
            refuse_taken(folder, "back up")
            refuse_inside(folder, self.path)
            return self._backup(folder)

    def _backup(self, folder: Path) -> Path:
        self.traces.flush()
        (folder / "data").mkdir(parents=True, exist_ok=True)
        if (self.path / SETTINGS).exists():
            shutil.copy2(self.path / SETTINGS, folder / SETTINGS)
        if (self.path / TEMPLATES).is_dir():
            shutil.copytree(self.path / TEMPLATES, folder / TEMPLATES)
        with self._generations.lock():
            if self._generations.root.exists():
                shutil.copytree(
                    self._generations.root,
                    folder / "data" / "generations",
                    ignore=shutil.ignore_patterns("build.lock", ".building-*"),
                )
        self.store.backup(folder / "data" / "wayline.db")
        return folder

    def close(self) -> None:
        """Write what waits and let go of the files; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._serving.close()
            self.access.close()
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _id(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(
            f"Got {name}={shorten(value)}, expected a text: ids are texts everywhere.", field=name
        )
    if not value.isascii() and value.encode("utf-8", "replace").decode() != value:
        raise InputError(f"Got {name}={shorten(value)}, expected valid Unicode.", field=name)
    return value


__all__ = ["Engine", "IntVector", "NoGenerationError", "create_workspace", "open", "restore"]
