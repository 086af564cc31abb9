"""Public sets are read from files in their official layouts, which the tests write themselves."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import polars as pl
import pytest

import wayline
from wayline.clock import to_ts_ms
from wayline.config import load_config
from wayline.datasets import KINDS, load, online_retail
from wayline.errors import FileProblemError, InputError
from wayline.intake import read_actions, read_items

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_the_demo_data_lie_inside_the_package_and_are_clean() -> None:
    data = online_retail()
    chunks = list(read_actions(data.actions, now_ts_ms=1_400_000_000_000))
    assert sum(chunk.frame.height for chunk in chunks) == 399_689
    assert not any(chunk.rejections for chunk in chunks)
    items = pl.concat([chunk.frame for chunk in read_items(data.items)])
    assert items.height == 3_676
    assert items["title"].null_count() == 0
    actions = pl.concat([chunk.frame for chunk in chunks])
    assert set(actions["action"].unique()) == set(data.config["actions"])
    assert set(actions["item_id"].unique()) <= set(items["item_id"])
    assert data.actions.stat().st_size + data.items.stat().st_size < 1_200_000
    load_config(None, data.config, {})


def test_the_demo_data_say_whom_to_thank() -> None:
    credit = online_retail().credit
    for part in ("D. Chen", "2012", "UCI", "CC BY 4.0", "Changed for wayline"):
        assert part in credit


def test_every_data_file_is_named_in_the_package_data() -> None:
    package = Path(wayline.__file__).parent
    project = package.parents[1] / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a source tree")
    settings = tomllib.loads(project.read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["wayline"]
    packed = {file for pattern in patterns for file in package.glob(pattern) if file.is_file()}
    there = {file for file in (package / "datasets" / "files").rglob("*") if file.is_file()}
    assert there <= packed
    assert len(there) == 3


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="shared: the shared data sets are absent")
def test_the_demo_data_are_the_shared_ones() -> None:
    for name in ("actions", "items"):
        theirs = pl.read_parquet(SHARED / "online-retail" / f"{name}.parquet")
        assert pl.read_parquet(getattr(online_retail(), name)).equals(theirs)


def test_online_retail_loads_without_a_path() -> None:
    actions, items, worths = load("online-retail")
    assert actions.columns == ["user_id", "item_id", "ts", "action", "value"]
    assert items is not None
    assert items.height == 3_676
    assert worths == {"buy": 1.0, "return": -1.0}


RATINGS = [(1, 2, 5.0, 978300760), (1, 3, 3.5, 978300761), (2, 2, 1.0, 978300700)]
WANTED = [
    ("2", "2", 978300700000, "dislike"),
    ("1", "2", 978300760000, "like"),
    ("1", "3", 978300761000, "view"),
]


def test_movielens_csv(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n"
        + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in RATINGS)
    )
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n2,"American President, The (1995)",Comedy|Drama|Romance\n'
        "3,Heat (1995),(no genres listed)\n"
    )
    (tmp_path / "tags.csv").write_text('userId,movieId,tag,timestamp\n2,3,"so, so",978300800\n')
    (tmp_path / "links.csv").write_text("movieId,imdbId,tmdbId\n2,0112346,9087\n")
    actions, items, worths = load("movielens", tmp_path)
    assert actions.select("user_id", "item_id", "ts", "action").rows() == [
        *WANTED,
        ("2", "3", 978300800000, "tag"),
    ]
    assert actions["value"].to_list() == [1.0, 5.0, 3.5, None]
    assert items is not None
    assert items.select("item_id", "title", "tags").row(0) == (
        "2",
        "American President, The (1995)",
        ["Comedy", "Drama", "Romance"],
    )
    assert worths == {"like": 1.0, "view": 0.2, "dislike": -1.0, "tag": 0.5}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_movielens_dat(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "ratings.dat").write_text(
        "".join(f"{u}::{i}::{r}::{t}\n" for u, i, r, t in RATINGS)
    )
    (tmp_path / "movies.dat").write_bytes(
        '2::Fabuleux destin d\'Amélie "P", Le (2001)::Comedy|Romance\n3::Heat::Action\n'.encode(
            encoding
        )
    )
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n")
    actions, items, _ = load("movielens", tmp_path)
    assert actions.select("user_id", "item_id", "ts", "action").rows() == WANTED
    assert items is not None
    assert items["title"].to_list()[0] == 'Fabuleux destin d\'Amélie "P", Le (2001)'
    assert items["tags"].to_list() == [["Comedy", "Romance"], ["Action"]]


def test_movielens_100k(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text(
        "".join(f"{u}\t{i}\t{int(r)}\t{t}\n" for u, i, r, t in RATINGS)
    )
    (tmp_path / "u.genre").write_text("unknown|0\nAction|1\nComedy|2\n\n")
    (tmp_path / "u.item").write_bytes(
        "2|Misérables, Les (1995)|01-Jan-1995||http://x|0|0|1\n3|Heat (1995)|01-Jan-1995||http://x|0|1|1\n".encode(
            "latin-1"
        )
    )
    actions, items, _ = load("movielens", tmp_path)
    assert actions["ts"].to_list() == [row[2] for row in WANTED]
    assert items is not None
    assert items.select("item_id", "title", "tags").rows() == [
        ("2", "Misérables, Les (1995)", ["Comedy"]),
        ("3", "Heat (1995)", ["Action", "Comedy"]),
    ]


def test_deskdrop(tmp_path: Path) -> None:
    (tmp_path / "users_interactions.csv").write_text(
        "timestamp,eventType,contentId,personId,sessionId,userAgent,userRegion,userCountry\n"
        "1465413032,VIEW,-3499919498720038879,-8845298781299428018,1264196770339959068,,,\n"
        "1465412560,COMMENT CREATED,8890720798209849691,-1032019229384696495,3621737643587579081,"
        '"Mozilla (X11, Linux)",NY,US\n'
    )
    (tmp_path / "shared_articles.csv").write_text(
        "timestamp,eventType,contentId,authorPersonId,authorSessionId,authorUserAgent,"
        "authorRegion,authorCountry,contentType,url,title,text,lang\n"
        "1459192779,CONTENT REMOVED,-6451309518266745024,43,81,,,,HTML,http://a,Old,Text,en\n"
        "1459193988,CONTENT SHARED,-3499919498720038879,43,81,,,,HTML,http://b,"
        '"Ethereum, a Virtual Currency","All of\nthis ""work""",en\n'
        "1459190000,CONTENT SHARED,-6451309518266745024,43,81,,,,HTML,http://a,Old,Text,en\n"
    )
    actions, items, worths = load("deskdrop", tmp_path)
    assert actions.select("user_id", "item_id", "ts", "action").rows() == [
        ("-1032019229384696495", "8890720798209849691", 1465412560000, "comment created"),
        ("-8845298781299428018", "-3499919498720038879", 1465413032000, "view"),
    ]
    assert items is not None
    rows = {row["item_id"]: row for row in items.to_dicts()}
    assert rows["-6451309518266745024"]["hidden"] is True
    kept = rows["-3499919498720038879"]
    assert (kept["hidden"], kept["title"], kept["description"]) == (
        False,
        "Ethereum, a Virtual Currency",
        'All of\nthis "work"',
    )
    assert kept["created_ts_ms"] == 1459193988000
    assert worths["bookmark"] > worths["view"]


def test_s3rec_sequences(tmp_path: Path) -> None:
    (tmp_path / "Beauty.txt").write_text("1 10 11 12\n2 11\n\n")
    (tmp_path / "Beauty_sample.txt").write_text("1 99\n")
    (tmp_path / "Beauty_item2attributes.json").write_text(json.dumps({"10": [1, 2], "11": [2]}))
    for path in (tmp_path, tmp_path / "Beauty.txt"):
        actions, items, worths = load("s3rec", path)
        assert sorted(actions.rows()) == [
            ("1", "10", 0, "engage"),
            ("1", "11", 1000, "engage"),
            ("1", "12", 2000, "engage"),
            ("2", "11", 0, "engage"),
        ]
        assert items is not None
        assert items.select("item_id", "tags").rows() == [("10", ["1", "2"]), ("11", ["2"])]
        assert worths == {"engage": 1.0}
    chunks = list(read_actions(actions, now_ts_ms=1_400_000_000_000))
    assert chunks[0].frame["ts_ms"].to_list() == actions["ts"].to_list()


def test_mind(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_text(
        "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-1 N4-0\n"
        "2\tU2\t11/12/2019 6:11:30 PM\t\tN5-0\n"
        "3\tU1\t11/13/2019 12:00:00 AM\tN1 N2\tN6-0\n"
    )
    (tmp_path / "news.tsv").write_text(
        'N1\tlifestyle\tlifestyleroyals\tThe "Brands"\tShop\thttps://x\t[{"Label": "P"}]\t[]\nN2\tnews\tworld\tTitle\t\thttps://y\t[]\t[]\n'
    )
    actions, items, worths = load("mind", tmp_path)
    at = to_ts_ms("2019-11-11T09:05:58Z")
    assert actions.filter(pl.col("user_id") == "U1").select(
        "item_id", "ts", "action", "request_id"
    ).rows() == [
        ("N1", at - 2000, "click", None),
        ("N2", at - 1000, "click", None),
        ("N3", at, "click", "1"),
        ("N4", at, "impression", "1"),
        ("N6", to_ts_ms("2019-11-13T00:00:00Z"), "impression", "3"),
    ]
    assert actions.filter(pl.col("user_id") == "U2")["ts"].to_list() == [
        to_ts_ms("2019-11-12T18:11:30Z")
    ]
    assert items is not None
    assert items.select("item_id", "category", "tags", "title", "description").row(0) == (
        "N1",
        "lifestyle",
        ["lifestyleroyals"],
        'The "Brands"',
        "Shop",
    )
    assert worths == {"click": 1.0, "impression": 0.0}
    assert not next(iter(read_actions(actions, now_ts_ms=1_600_000_000_000))).rejections


def test_a_folder_of_this_project(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user_id": ["u", "u"],
            "item_id": ["i", "j"],
            "ts": [1_300_000_000_000] * 2,
            "action": ["save", "hide"],
        }
    )
    frame.write_parquet(tmp_path / "actions.parquet")
    actions, items, worths = load("parquet", tmp_path)
    assert actions.equals(frame)
    assert items is None
    assert worths == {"save": 1.0, "hide": -1.0}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="shared: the shared data sets are absent")
@pytest.mark.parametrize("name", ["movielens-small", "deskdrop", "slackbuilds", "s3rec-lastfm"])
def test_the_shared_sets_are_of_this_layout(name: str) -> None:
    actions, _, worths = load("parquet", SHARED / name)
    assert (
        actions.height
        == pl.scan_parquet(SHARED / name / "actions.parquet").select(pl.len()).collect().item()
    )
    assert set(worths) == set(actions["action"].unique())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_folder_without_the_layout_is_one_line_with_a_cure(tmp_path: Path, kind: str) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileProblemError) as caught:
            load(kind, path)
        assert "\n" not in caught.value.message
        assert str(tmp_path) in caught.value.message


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"movielens.*mind"):
        load("netflix", ".")
    with pytest.raises(InputError, match="give the folder"):
        load("mind")


@pytest.mark.parametrize(
    ("kind", "name", "content", "says"),
    [
        (
            "movielens",
            "ratings.csv",
            "userId,movieId,rating,timestamp\n1,2,five,978300760\n",
            "number 0: value 'five'",
        ),
        ("movielens", "ratings.csv", "userId,movieId,rating,timestamp\n", "holds no rows|column"),
        ("s3rec", "a.txt", "1\n", "Line 1"),
        ("s3rec", "a.txt", "\n", "no sequence"),
        ("mind", "behaviors.tsv", "1\tU1\tnoon\t\tN1-0\n", "without a user or a time"),
        ("mind", "behaviors.tsv", "1\tU1\n2\tU1\ta\tb\tc\td\n", "columns"),
    ],
)
def test_a_damaged_set_is_one_line(
    tmp_path: Path, kind: str, name: str, content: str, says: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        load(kind, tmp_path)
    assert any(part in caught.value.message for part in says.split("|")), caught.value.message
    assert "\n" not in caught.value.message
