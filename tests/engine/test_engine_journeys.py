"""Journeys through the engine: a request finds what a build found, nothing later is seen, ids and names last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from engine_shop import DAY, HOUR, START, ids, opened
from journeys_shop import (
    COLUMNS,
    DAYS,
    EACH,
    PEOPLE,
    PLAIN,
    TOPICS,
    built_shop,
    newest,
    stored,
    table_of,
    told,
    topic_items,
    topic_log,
)

from wayline.engine import Engine
from wayline.errors import InputError, NoGenerationError, NotFoundError
from wayline.journeys.keywords import NO_TEXT
from wayline.notifications.planning import journey_features

USERS = [f"u{n}" for n in range(PEOPLE)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journeys") / "shop"
    built_shop(folder).close()
    return folder


@pytest.fixture
def folder(shop: Path, tmp_path: Path) -> Path:
    shutil.copytree(shop, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with opened(folder, **PLAIN) as engine:
        yield engine
    with opened(folder, **PLAIN) as again:
        assert again.doctor() == []


def bought(user: str, items: list[int], day: float, search: str | None = None) -> pl.DataFrame:
    rows = [
        (user, f"i{item}", START + round((day + n) * 24) * HOUR, "buy", search)
        for n, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def everybodys(engine: Engine, at: int | None = None) -> dict[str, list]:  # type: ignore[type-arg]
    found = {user: told(engine.journeys(user, at=at, limit=500)) for user in USERS}
    return {user: journeys for user, journeys in found.items() if journeys}


def topics_of(names: list[str]) -> set[str]:
    return {name.casefold().removesuffix(" gift") for name in names}


def test_people_are_on_the_topics_they_walked_through(engine: Engine) -> None:
    log = topic_log().filter(pl.col("action") != "return")
    topic = pl.col("item_id").str.strip_prefix("i").cast(pl.Int64) // EACH
    counts = (
        log.with_columns(topic=topic)
        .group_by("user_id", "topic")
        .agg(pl.col("item_id").n_unique(), n=pl.len())
    )
    known = counts.filter((pl.col("n") >= 3) & (pl.col("item_id") >= 2))
    planted = {(user, TOPICS[t]) for user, t in known.select("user_id", "topic").iter_rows()}
    found = {
        (user, name)
        for user in USERS
        for name in topics_of([j.name for j in engine.journeys(user)])
    }
    assert len(planted & found) >= 0.9 * len(planted)
    assert len(found - planted) <= 0.1 * len(found)


def test_what_a_request_finds_as_of_a_build_is_what_the_build_found(engine: Engine) -> None:
    def the_same() -> None:
        assert everybodys(engine, newest(engine)) == stored(table_of(engine))

    assert len(stored(table_of(engine))) > 0.9 * PEOPLE
    the_same()
    rng = np.random.default_rng(3)
    for step in range(3):
        day = DAYS + 2.0 * step
        for user in rng.choice(USERS, 12, replace=False).tolist():
            items = rng.choice(EACH * len(TOPICS), 6).tolist()
            engine.add_actions(bought(user, items, day, TOPICS[items[0] // EACH] if step else None))
        if step == 1:
            engine.build()
        else:
            engine.build_journeys(since=START + round(day * DAY))
            continue  # the others keep the stages of before
        the_same()
    engine.build_journeys()
    the_same()


def test_when_an_answer_is_asked_does_not_change_it(engine: Engine, folder: Path) -> None:
    moments = [newest(engine) + pause for pause in (0, HOUR // 2, HOUR - 1, 40 * DAY)]
    forwards = [everybodys(engine, at) for at in moments]
    with opened(folder, **PLAIN) as other:
        backwards = [everybodys(other, at) for at in reversed(moments)]
    assert forwards == backwards[::-1]
    stages = [{row[3] for rows in found.values() for row in rows} for found in forwards]
    assert stages[-1] == {"ended"}
    assert "ongoing" in stages[0]


def test_later_actions_change_no_answer_of_before(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    moment = START + (DAYS - 40) * DAY
    before = everybodys(engine, moment)
    assert before
    rng = np.random.default_rng(5)
    for user in USERS[:20]:
        engine.add_actions(
            bought(user, rng.choice(EACH * len(TOPICS), 8).tolist(), DAYS - 39, "lunch bag")
        )
    assert everybodys(engine, moment) == before
    assert everybodys(engine) != before


@pytest.mark.parametrize("seed", [1, 2])
def test_a_build_until_a_moment_finds_what_it_would_if_the_future_were_another(
    tmp_path: Path, seed: int
) -> None:
    moment = START + (DAYS - 40) * DAY
    log = topic_log()
    rng = np.random.default_rng(seed)
    later = log.filter(pl.col("ts") > moment)
    other = later.with_columns(
        item_id=pl.Series(rng.permutation(later["item_id"].to_numpy())),
        query=pl.Series([f"word{n % 3}" for n in range(later.height)]),
        ts=pl.Series(moment + 1 + rng.integers(0, 40 * DAY, later.height)),
    )
    found = []
    for name, rest in (("real", later), ("other", other), ("past", later.head(0))):
        engine = opened(tmp_path / name, **PLAIN)
        with engine:
            engine.add_items(topic_items())
            engine.add_actions(pl.concat([log.filter(pl.col("ts") <= moment), rest]))
            engine.build(until=moment)
            found.append((stored(table_of(engine)), everybodys(engine, moment)))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == found[0][1]


def test_nothing_new_changes_no_id_and_no_name(engine: Engine) -> None:
    first = stored(table_of(engine))
    engine.build_journeys()
    assert stored(table_of(engine)) == first
    engine.build()
    assert stored(table_of(engine)) == first
    engine.build_journeys(since=START)
    assert stored(table_of(engine)) == first


def test_some_people_alone_get_what_a_run_for_all_gives_and_the_others_keep_theirs(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    before = stored(table_of(engine))
    engine.add_actions(bought("u3", [0, 1, 2, 3], DAYS + 1))
    engine.add_actions(bought("u8", [30, 31, 32], DAYS + 9, "wall clock gift"))
    engine.traces.flush()
    found = []
    for name, since in (("one", DAYS + 8), ("both", DAYS + 0.5), ("all", None)):
        shutil.copytree(folder, tmp_path / name)
        with opened(tmp_path / name, **PLAIN) as other:
            other.build_journeys(since=None if since is None else START + round(since * DAY))
            found.append(stored(table_of(other)))
    one, both, everyone = found
    assert one["u8"] == both["u8"] == everyone["u8"] != before["u8"]
    assert both["u3"] == everyone["u3"] != before["u3"]
    assert one["u3"] == before["u3"]
    for name, active in ((one, {"u8"}), (both, {"u3", "u8"})):
        assert {u: rows for u, rows in name.items() if u not in active} == {
            u: rows for u, rows in before.items() if u not in active
        }
    identity = [
        {u: [r[:3] for r in sorted(rows)] for u, rows in d.items() if u not in {"u3", "u8"}}
        for d in (before, everyone)
    ]
    assert identity[0] == identity[1]


def test_a_generation_without_journeys_serves_feeds_and_says_what_to_do(tmp_path: Path) -> None:
    built_shop(tmp_path / "shop", journeys={"mode": "off"}).close()
    with opened(tmp_path / "shop", **PLAIN) as engine:
        assert engine.journeys("u1") == []
        assert len(engine.feed("u1").items) == 5
        assert engine.export("u1")["journeys"] == []
        assert engine.notifications("u1") == []
        with pytest.raises(NotFoundError, match="no journey"):
            engine.feed("u1", journey="0badc0de")
        with pytest.raises(NoGenerationError, match="run `wayline build` first") as caught:
            engine.build_journeys()
        assert "\n" not in caught.value.message
        assert engine.forget("u1")["journeys"] == 0
        engine.build()
        assert engine.journeys("u2")
    with opened(tmp_path / "shop", **PLAIN, journeys={"mode": "off"}) as engine:
        assert engine.journeys("u2") == []
        assert len(engine.feed("u2").items) == 5


def test_the_feed_of_a_journey_holds_only_what_is_on_it_and_names_it(engine: Engine) -> None:
    on_topic: list[bool] = []
    for user in USERS[:15]:
        done = {action.item_id for action in engine.actions(user)}
        for journey in engine.journeys(user):
            feed = engine.feed(user, limit=6, journey=journey.id)
            assert feed.degraded == []
            assert feed.items
            assert not done & set(ids(feed))
            for item in feed.items:
                assert item.reasons[0].journey == journey.id  # only what is near enough has it
                assert journey.name in item.reasons[0].text
            topics = [topics_of([(item.title or "").partition(" ")[2]]) for item in feed.items]
            on_topic += [topic == topics_of([journey.name]) for topic in topics]
    assert np.mean(on_topic) > 0.9


def test_the_feed_of_a_journey_pages_until_the_journey_ends(engine: Engine) -> None:
    journey = engine.journeys("u1")[0]
    page = engine.feed("u1", limit=3, journey=journey.id)
    seen = ids(page)
    while page.cursor is not None:
        page = engine.feed("u1", limit=3, journey=journey.id, cursor=page.cursor)
        assert all(item.reasons[0].journey == journey.id for item in page.items)
        seen += ids(page)
    assert len(seen) == len(set(seen)) > 3
    assert len(seen) < EACH


def test_an_unknown_journey_is_one_line(engine: Engine) -> None:
    other = engine.journeys("u2")[0].id
    for user, journey in (("u1", "nothing"), ("u1", other), ("nobody", other), ("u1", "")):
        with pytest.raises(
            NotFoundError, match="give the id of one that `journeys` lists now"
        ) as caught:
            engine.feed(user, journey=journey)
        assert (caught.value.field, "\n" in caught.value.message) == ("journey", False)
    with pytest.raises(NotFoundError):
        engine.change_journey("u1", "nothing", muted=True)


def test_a_name_and_a_boost_hold_at_once_and_through_builds(engine: Engine, folder: Path) -> None:
    first, *_, last = engine.journeys("u4")
    changed = engine.change_journey("u4", last.id, name="Granny’s <b>birthday</b>", boost=10)
    assert (changed.name, changed.boost) == ("Granny’s <b>birthday</b>", 10)
    assert engine.journeys("u4")[0].id == last.id
    engine.build()
    engine.build_journeys()
    with opened(folder, **PLAIN) as other:
        found = {j.id: j for j in other.journeys("u4")}
        assert (found[last.id].name, found[last.id].boost) == ("Granny’s <b>birthday</b>", 10)
        assert found[first.id].name == first.name
        feed = other.feed("u4", journey=last.id)
        assert "Granny’s <b>birthday</b>" in feed.items[0].reasons[0].text
        back = other.change_journey("u4", last.id, reset=True)
        assert (back.name, back.boost, back.score) == (last.name, 1.0, last.score)
    assert engine.journeys("u4")[0].id == first.id


def test_what_a_person_says_of_a_journey_is_checked(engine: Engine) -> None:
    journey = engine.journeys("u4")[0].id
    for wrong, field in (({"name": "x" * 101}, "name"), ({"name": "a\nb"}, "name"), ({"boost": 0}, "boost"),
                         ({"muted": 1}, "muted")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            engine.change_journey("u4", journey, **wrong)  # type: ignore[arg-type]
        assert caught.value.field == field
    with pytest.raises(InputError, match="any of name, muted, boost or reset"):
        engine.change_journey("u4", journey)


def test_a_muted_interest_takes_the_journey_of_the_same_thing_with_it(engine: Engine) -> None:
    pairs = [
        (user, interest, journey)
        for user in USERS
        for interest in engine.interests(user)
        for journey in engine.journeys(user)
        if interest.label.casefold() == journey.name.casefold()
    ]
    assert len(pairs) > 20

    def muted(user: str, journey_id: str) -> bool:
        return {one.id: one.muted for one in engine.journeys(user)}[journey_id]

    user, interest, journey = pairs[0]
    others = {one.id for one in engine.journeys(user)} - {journey.id}
    engine.change_interest(user, interest.id, muted=True)
    assert muted(user, journey.id)
    assert not any(muted(user, other) for other in others)
    shown = engine.feed(user, limit=20)
    assert not any(r.journey == journey.id for item in shown.items for r in item.reasons)
    engine.build()
    assert muted(user, journey.id), "it outlives a build"
    engine.change_interest(user, interest.id, muted=False)
    assert not muted(user, journey.id)
    engine.change_interest(user, interest.id, muted=True)
    engine.change_journey(user, journey.id, muted=False)
    assert not muted(user, journey.id), "what they say of the journey itself counts more"
    engine.change_journey(user, journey.id, reset=True)
    assert muted(user, journey.id)

    user, interest, journey = next(pair for pair in pairs if pair[0] != user)
    engine.change_interest(
        user, interest.id, label="gone", muted=True
    )  # another name, the same items
    assert muted(user, journey.id)
    user, interest, journey = next(pair for pair in pairs if pair[0] not in (user, pairs[0][0]))
    mute = {"action": "interest.mute", "board": interest.id, "item_id": interest.medoid}
    tried = engine.journeys(user, supposing=[mute])
    assert {one.id: one.muted for one in tried}[journey.id]
    assert not muted(user, journey.id), "it was only supposed"


def test_nothing_of_a_muted_journey_is_shown_or_told(engine: Engine) -> None:
    user, journey = next(
        (user, j) for user in USERS for j in engine.journeys(user)[:1] if j.stage == "ongoing"
    )
    on_it = set(ids(engine.feed(user, limit=500, journey=journey.id)))
    assert on_it & set(ids(engine.feed(user, limit=100)))
    assert engine.change_journey(user, journey.id, muted=True).muted
    assert not on_it & set(ids(engine.feed(user, limit=100)))
    assert engine.journeys(user)[-1].id == journey.id  # last, so that it can be found and unmuted
    assert set(ids(engine.feed(user, limit=500, journey=journey.id))) == on_it
    assert journey.id not in {n.journey_id for n in engine.notifications(user)}
    engine.build()
    assert not on_it & set(ids(engine.feed(user, limit=100)))
    assert not engine.change_journey(user, journey.id, muted=False).muted
    assert on_it & set(ids(engine.feed(user, limit=100)))


def test_words_about_journeys_are_no_searches_of_the_person(engine: Engine) -> None:
    journey = engine.journeys("u4")[0]
    engine.change_journey("u4", journey.id, name="lunch bag")
    engine.build_journeys()
    engine.change_journey("u4", journey.id, reset=True)
    assert told(engine.journeys("u4")) == told(engine.journeys("u4", at=newest(engine)))
    assert "lunch bag" not in {q for j in engine.journeys("u4") for q in j.queries} - {
        q for j in engine.journeys("u4", at=newest(engine) - 1) for q in j.queries
    }


def test_forgetting_takes_a_persons_journeys_out_of_every_generation(engine: Engine) -> None:
    engine.build_journeys()
    generations = [g.id for g in engine.generations()]
    rows = sum(stored_of(engine, id_).get("u6", 0) for id_ in generations)
    others = [{u: n for u, n in stored_of(engine, id_).items() if u != "u6"} for id_ in generations]
    exported = engine.export("u6")
    assert [j["id"] for j in exported["journeys"]] == [
        j.id for j in engine.journeys("u6", limit=500)
    ]
    assert exported["journeys"][0]["evidence"]
    unfinished = engine.path / "data" / "cache" / "journeys" / "0123"
    unfinished.mkdir(parents=True)
    (unfinished / "000000000.parquet").write_bytes(b"rows of people")
    assert rows > 0
    assert engine.forget("u6")["journeys"] == rows
    assert not unfinished.exists()
    assert [stored_of(engine, id_) for id_ in generations] == others
    assert engine.journeys("u6") == []
    assert engine.export("u6")["journeys"] == []
    engine.build_journeys(since=START + DAYS * DAY)
    assert "u6" not in stored_of(engine, None)
    assert engine.forget("u6")["journeys"] == 0


def stored_of(engine: Engine, id_: str | None) -> dict[str, int]:
    counts = table_of(engine, id_).group_by("user_id").len()
    return dict(counts.iter_rows())


def test_what_is_kept_of_a_notification_is_what_the_ranker_read(engine: Engine) -> None:
    for journey in engine.journeys("u4"):
        kept = journey_features(journey, newest(engine))
        assert {name: kept[name] for name in journey.features} == journey.features


def test_a_notification_about_the_past_shows_items_of_then(folder: Path) -> None:
    loud = {**PLAIN, "notifications": {"quiet_hours": "", "min_confidence": 0.0, "min_items": 1}}
    with opened(folder, **loud) as engine:
        moment = newest(engine)
        before = {u: engine.notifications(u, at=moment) for u in USERS[:15]}
        assert any(before.values())
        for user in USERS[:15]:  # all of it is disliked now: no journey of then is left
            done = {a.item_id for a in engine.actions(user)}
            engine.add_actions([{"user_id": user, "item_id": i, "action": "return", "ts": moment + n + 1}
                                for i in done for n in range(9)])  # fmt: skip
            assert engine.journeys(user) == []
        after = {u: engine.notifications(u, at=moment) for u in USERS[:15]}
        for user, notes in before.items():
            assert [(n.journey_id, n.items) for n in after[user]] == [
                (n.journey_id, n.items) for n in notes
            ]


def test_two_actions_are_no_journey_and_a_third_is_one(engine: Engine) -> None:
    engine.add_actions(bought("new", [0, 1], DAYS))
    assert engine.journeys("new") == []
    assert engine.feed("new").items
    engine.add_actions(bought("new", [2], DAYS + 2))
    (one,) = engine.journeys("new")
    assert (one.name, one.stage, one.actions) == ("Garden lamp", "ongoing", 3)
    assert [e.item_id for e in one.evidence] == ["i2", "i1", "i0"]


@pytest.mark.parametrize("named", ["titles", "categories", "nothing"])
def test_without_titles_categories_name_journeys_and_without_those_item_ids(
    tmp_path: Path, named: str
) -> None:
    engine = opened(tmp_path / "shop", **PLAIN)
    with engine:
        if named != "nothing":
            key = "title" if named == "titles" else "category"
            engine.add_items(
                [{"item_id": f"i{n}", key: TOPICS[n // EACH]} for n in range(EACH * len(TOPICS))]
            )
        engine.add_actions(topic_log().drop("query"))
        notes = engine.build().metrics["journeys"]["notes"]
        names = {j.name for user in USERS for j in engine.journeys(user)}
        if named == "nothing":
            assert notes == [NO_TEXT]
            assert {name.casefold() for name in names} <= {
                f"i{n}" for n in range(EACH * len(TOPICS))
            }
        else:
            assert notes == []
            assert {name.casefold() for name in names} <= set(TOPICS)


STRANGE = (
    "<script>alert('x')</script> lamp", "🎄🎁", "כוס תה יפה", "مصباح الحديقة", "[bold red]tea[/bold red] cup",
    "{{ 7 * 7 }} clock", "a\u202eb\u200bc\x1b[31m", "&lt;img src=x onerror=alert(1)&gt;", "%s %d {0}", "x" * 900,
)  # fmt: skip


def test_strange_texts_break_nothing_and_are_said_in_one_plain_line(tmp_path: Path) -> None:
    with opened(tmp_path / "shop", **PLAIN) as engine:
        engine.add_items(
            [{"item_id": f"i{n}", "title": STRANGE[n // EACH], "tags": [STRANGE[-n // EACH]],
              "category": "<b>A</b> > B"} for n in range(EACH * len(TOPICS))]
        )  # fmt: skip
        log = topic_log().with_columns(
            query=pl.when(pl.col("query").is_null()).then(None).otherwise(pl.lit("<i>תה"))
        )
        engine.add_actions(log)
        engine.build()
        for user in USERS:
            found = engine.journeys(user)
            assert len({j.name for j in found}) == len(found)
            for journey in found:
                assert journey.name.isprintable()
                assert 0 < len(journey.name) <= 40
                assert not set("<>") & set(journey.name)
                assert engine.feed(user, journey=journey.id).degraded == []
        assert everybodys(engine, newest(engine)) == stored(table_of(engine))


def test_a_blocked_term_names_no_journey(tmp_path: Path) -> None:
    engine = opened(tmp_path / "shop", **PLAIN)
    with engine:
        (tmp_path / "shop" / "blocked_terms.txt").write_text("lamp\ntea\n")
        engine.add_items(topic_items())
        engine.add_actions(topic_log())
        engine.build()
        said = " ".join(
            text
            for user in USERS
            for j in engine.journeys(user)
            for text in (j.name, *j.keywords, *j.queries, *j.related)
        ).casefold()
        assert "lamp" not in said
        assert "tea" not in said
        assert "wool scarf" in said


def test_sixteen_thousand_actions_make_journeys(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    size = 16_500
    rows = pl.DataFrame(
        {
            "user_id": ["busy"] * size,
            "item_id": [f"i{n}" for n in rng.integers(0, EACH * len(TOPICS), size).tolist()],
            "ts": START + np.sort(rng.integers(0, DAYS * DAY, size)),
            "action": ["buy"] * size,
        }
    )
    engine.add_actions(rows)
    found = engine.journeys("busy", limit=500)
    assert topics_of([j.name for j in found]) == set(TOPICS)
    assert sum(j.actions for j in found) <= 16_000
    engine.build_journeys()
    assert (
        told(engine.journeys("busy", at=newest(engine), limit=500))
        == stored(table_of(engine))["busy"]
    )
