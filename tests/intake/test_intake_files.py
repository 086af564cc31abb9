"""Files: what they are is found out, what is broken is said in one line, what was good before is
kept.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wayline.errors import FileProblemError, InputError, UnknownColumnsError
from wayline.intake import RejectsWriter, checks, delimited, files, read_actions
from wayline.intake.dialects import Dialect
from wayline.schema import Rejection

NOW = 1_400_000_000_000
HEADER = "user,item,time\n"


def read(path: Path, **options: Any) -> tuple[pl.DataFrame, list[Rejection]]:
    chunks = list(read_actions(path, now_ts_ms=NOW, **options))
    for chunk in chunks:
        assert chunk.frame.height + len(chunk.rejections) == chunk.rows
        for each in chunk.rejections:
            assert "\n" not in each.reason
    frame = pl.concat([chunk.frame for chunk in chunks], how="diagonal")
    return frame, [each for chunk in chunks for each in chunk.rejections]


def lines(count: int, start: int = 0) -> str:
    return "".join(f"u{at},i{at},{1_300_000_000 + at}\n" for at in range(start, start + count))


def problem(path: Path, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500
    return caught.value


# ---- files that cannot be used at all

GZIPPED = gzip.compress((HEADER + lines(3)).encode())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n\n", "nothing but blanks"),
        ("a.csv.gz", gzip.compress(b""), "is empty inside its gzip"),
        ("a.parquet", b"user,item,time\n", "is not Parquet"),
        ("a.parquet", b"PAR1" + b"\x00" * 50, "no complete Parquet file"),
        ("a.csv.gz", b"user,item,time\n", "is not gzip"),
        ("a.csv.gz", GZIPPED[:12], "cut short"),
        ("a.parquet.gz", gzip.compress(b"user,item"), "is not Parquet"),
        ("a.csv", b"PAR1xxxxPAR1", "rename it to end in .parquet"),
        ("a.csv", b"PK\x03\x04rest", "zip archive"),
        ("a.jsonl", b"\x28\xb5\x2f\xfdrest", "zstd"),
        ("a.csv", "user,item,time\n".encode("utf-16"), "UTF-16"),
        ("a.db", b"SQLite format 3\x00", "SQLite"),
        ("a.bin", bytes(range(256)) * 4 + b"\x00" * 500, "binary data"),
        ("a.csv", b"us\xe9r,item,time\nu,i,1300000000\n", "not UTF-8"),
        ("a.csv", b"user,item,time\n\xff,i,1300000000\n", "iconv"),
        ("a.jsonl", b'{"user": "u\xff"}\n', "iconv"),
        ("a.jsonl", b"[1, 2]\n", "expected|JSON objects"),
        ("a.jsonl", b"hello\n", "JSON objects"),
        ("a.json", b"[]", "no JSON objects"),
        ("a.json", b"[1]", "JSON objects"),
        ("a.json", b"[", "]"),
    ],
)
def test_an_unusable_file_is_one_line_with_a_cure(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    error = problem(tmp_path / name)
    assert isinstance(error, FileProblemError)
    assert error.code == "bad_file"
    assert error.field == "file"
    assert any(part in error.message for part in says.split("|")), error.message


def test_a_missing_file_and_a_folder_are_said_so(tmp_path: Path) -> None:
    assert "There is no file" in problem(tmp_path / "none.csv").message
    assert "is a folder" in problem(tmp_path).message
    assert "There is no file" in problem(tmp_path / "a.csv" / "b.csv").message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + lines(1))
    path.chmod(0)
    assert "Permission denied" in problem(path).message


def test_a_parquet_file_cut_short_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame(
        {"user": ["u"] * 1000, "item": ["i"] * 1000, "ts": [1_300_000_000] * 1000}
    ).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cut short" in problem(path).message


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["u"])] * 2, names=["user", "user"]), path)
    assert "two columns named user" in problem(path).message


def test_unknown_columns_name_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("who,what,when\nu,i,1300000000\n")
    error = problem(path)
    assert isinstance(error, UnknownColumnsError)
    assert "who, what, when" in error.message
    frame, _ = read(path, mapping={"user_id": "who", "item_id": "what", "ts": "when"})
    assert frame.height == 1


# ---- files with a bad tail or bad lines


def test_a_gzip_cut_short_keeps_whole_lines_before_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    packed = gzip.compress((HEADER + lines(5000)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    frame, (last,) = read(path)
    assert 100 < frame.height < 5000
    assert frame["user_id"].to_list() == [f"u{at}" for at in range(frame.height)]
    assert frame["ts_ms"][-1] == (1_300_000_000 + frame.height - 1) * 1000
    assert (last.index, last.field) == (frame.height, "file")
    assert "cut short" in last.reason


def test_a_damaged_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    packed = bytearray(gzip.compress((HEADER + lines(200_000)).encode()))
    middle = len(packed) // 2
    packed[middle : middle + 50] = b"\x00" * 50
    path.write_bytes(packed)
    frame, rejections = read(path)
    assert frame.height > 10_000
    assert rejections[-1].field == "file"
    assert "damaged" in rejections[-1].reason


def test_gzip_members_one_after_another_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(
        gzip.compress((HEADER + lines(2)).encode())
        + gzip.compress(lines(2, 2).encode())
        + b"\x00\x00"
    )
    assert read(path)[0]["user_id"].to_list() == ["u0", "u1", "u2", "u3"]


def test_bytes_that_are_not_utf8_name_their_place_and_keep_the_rows_before(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes((HEADER + lines(2)).encode() + b"u\xe9,i,1300000000\n" + lines(3).encode())
    frame, (last,) = read(path)
    offset = len((HEADER + lines(2)).encode()) + 1
    assert frame.height == 2
    assert (last.index, last.field) == (2, "file")
    assert f"byte {offset}" in last.reason
    assert "line 4" in last.reason
    assert read(path, encoding="latin-1")[0].height == 6


def test_malformed_csv_rows_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        HEADER
        + 'u0,i0,1300000000\nu1,i1\nu2,i2,1300000000,extra\n\n"u3","i ""3""","1300000000"\n'
        + '"u4,i4,1300000000\nu5,i5,1300000000\nu6,"i"6,1300000000\nu7,"i\n7",1300000000\nu8,i8'
    )
    frame, rejections = read(path)
    assert frame["user_id"].to_list() == ["u0", "u3", "u5"]
    assert frame["item_id"].to_list() == ["i0", 'i "3"', "i5"]
    assert frame["row"].to_list() == [0, 3, 5]
    assert [(each.index, each.field) for each in rejections] == [
        (1, "row"),
        (2, "row"),
        (4, "row"),
        (6, "row"),
        (7, "item_id"),
        (8, "row"),
    ]
    assert "has 2 fields, expected 3" in rejections[0].reason
    assert "quotes" in rejections[2].reason


def test_half_a_json_line_and_other_faults_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = '{"user": "u", "item": "i", "ts": 1300000000}'
    deep = "[" * 100_000
    path.write_text(
        "\n".join(
            [
                good,
                "{oops}",
                "",
                "[1]",
                good,
                deep,
                '{"user": 1e999, "item": "i", "ts": 1}',
                good[:20],
            ]
        )
    )
    frame, rejections = read(path)
    assert frame["row"].to_list() == [0, 3]
    assert [(each.index, each.field) for each in rejections] == [
        (1, "row"),
        (2, "row"),
        (4, "row"),
        (5, "user_id"),
        (6, "row"),
    ]
    assert "is not JSON" in rejections[-1].reason


def test_a_json_array_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\ufeff[{"user": "u", "item": "i", "ts": 1300000000},\n{"user": "u", "it')
    frame, (last,) = read(path)
    assert frame.height == 1
    assert (last.index, last.field) == (1, "file")


def test_a_ten_megabyte_id_is_refused_by_its_field_in_every_format(tmp_path: Path) -> None:
    huge = "x" * 10_000_000
    (tmp_path / "a.csv").write_text(HEADER + lines(1) + f"u,{huge},1300000000\n" + lines(1))
    row = '{"user": "u", "item": "%s", "ts": 1300000000}\n'
    (tmp_path / "a.jsonl").write_text(row % "i" + row % huge)
    for name, good in (("a.csv", 2), ("a.jsonl", 1)):
        frame, (only,) = read(tmp_path / name)
        assert frame.height == good
        assert (only.index, only.field) == (1, "item_id")
        assert "10,000,000 bytes" in only.reason
        assert len(only.reason) < 200


def test_a_line_without_end_stops_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "a.csv"
    path.write_text(HEADER + lines(10) + "x" * (5 << 20))
    frame, rejections = read(path)
    assert frame.height == 10
    assert "longer than" in rejections[-1].reason


# ---- what a delimited file is


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "user,item,time\nu,i,1300000000\n"),
        ("a.csv", "user;item;time\nu;i;1300000000\n"),
        ("a.txt", "user\titem\ttime\nu\ti\t1300000000\n"),
        ("a.dat", "user|item|time\nu|i|1300000000\n"),
        ("noending", "user::item::time\nu::i::1300000000\n"),
        ("a.inter", "user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1300000000.0\n"),
        ("a.csv", "\ufeffuser,item,time\r\nu,i,1300000000\r\n"),
        ("a.csv", '\n"user" , "item" , "time"\nu,i,1300000000\n'.replace(" ", "")),
        ("a.csv", " user , item , time \nu,i,1300000000"),
        ("a.csv", "user,item,time,tags\nu,i,1300000000,a|b|c;d\n"),
        ("a.csv", 'user;item;time;note\nu;i;1300000000;"a,b,c"\n'),
        ("a.csv", "u,i,1300000000\n"),
        ("a.csv", "u,i,2011-03-13T07:06:40Z\n"),
        ("a.dat", "u::i::1300000000\n"),
        ("a.csv", "user,item,time\ru,i,1300000000\r"),
    ],
)
def test_delimiter_header_and_line_ends_are_found_out(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    frame, rejections = read(tmp_path / name)
    assert rejections == []
    assert frame.select("user_id", "item_id", "ts_ms").rows() == [("u", "i", 1_300_000_000_000)]


def test_a_file_without_a_header_is_read_by_its_values(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    assert read(tmp_path / "ratings.dat")[0].drop("row").rows() == [
        ("1", "1193", 978_300_760_000, "view", 5.0),
        ("1", "661", 978_302_109_000, "view", 3.0),
    ]
    (tmp_path / "b.csv").write_text("1,2,pv,1300000000\n1,3,buy,1300000001\n")
    assert read(tmp_path / "b.csv")[0]["action"].to_list() == ["pv", "buy"]
    (tmp_path / "c.csv").write_text("1,2,x,pv,1300000000\n")
    assert "column_5" in problem(tmp_path / "c.csv").message
    assert "no header" in problem(tmp_path / "c.csv").message
    mapping = {"user_id": "column_1", "item_id": "column_2", "action": "column_4", "ts": "column_5"}
    assert read(tmp_path / "c.csv", mapping=mapping)[0]["action"].to_list() == ["pv"]
    names = ["user", "item", "category", "action", "ts"]
    assert read(tmp_path / "c.csv", names=names)[0]["action"].to_list() == ["pv"]
    assert "expected 2" in problem(tmp_path / "c.csv", names=["user", "item"]).message


def test_a_header_without_rows_is_an_empty_chunk_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER)
    frame, rejections = read(tmp_path / "a.csv")
    assert (frame.height, rejections) == (0, [])
    assert frame.columns == ["row", "user_id", "item_id", "ts_ms", "action"]


def test_blank_cells_of_optional_columns_are_missing_without_a_detour(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "user,item,time,event,rating,query\nu,i,1300000000,,,\nu,j,1300000000,buy,2,mug\n"
    )
    frame, rejections = read(path)
    assert rejections == []
    assert frame.select("action", "value", "query").rows() == [
        ("view", None, None),
        ("buy", 2.0, "mug"),
    ]
    column = pl.Series(["", "x", None])
    assert checks.ids(column, required=False)[1].all()
    assert checks.numbers(pl.Series(["", "1", None]))[1].all()


def test_two_csv_columns_of_one_name_can_still_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,time,item\nu,i,1300000000,j\n")
    assert read(tmp_path / "a.csv")[0]["item_id"].to_list() == ["i"]
    assert read(tmp_path / "a.csv", mapping={"item_id": "item_2"})[0]["item_id"].to_list() == ["j"]


def test_numbers_that_went_through_floats_lose_their_point_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,time\n17850.0,1.0,1300000000\n,2.0,1300000000\n5.0,A,1300000000\n")
    frame, rejections = read(path)
    assert frame.select("user_id", "item_id").rows() == [("17850", "1.0"), ("5", "A")]
    assert [(each.index, each.field) for each in rejections] == [(1, "user_id")]


def test_slashed_dates_are_settled_by_a_later_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(files, "_READ_BYTES", 1 << 9)
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "u,i,1/2/2010 8:26\n" * 500 + "u,i,25/2/2010 8:26\n")
    frame, _ = read(path)
    assert frame["ts_ms"][0] == 1_265_012_760_000  # 2010-02-01 08:26
    assert frame.height == 501


# ---- blocks, quotes and the two ways of parsing

records = st.lists(
    st.tuples(
        st.text('ab",\n\r;| ', max_size=6), st.text('xy"\n,', max_size=4), st.just("1300000000")
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=records, block=st.integers(1, 60))
def test_quoted_records_survive_any_cut_between_blocks(
    rows: list[tuple[str, str, str]], block: int, tmp_path: Path
) -> None:
    import csv

    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("user", "item", "time"), *rows])
    text = buffer.getvalue()
    cut: list[str] = []
    for line in io.StringIO(text, newline="\n"):
        if cut and len(cut[-1]) < block:
            cut[-1] += line
        else:
            cut.append(line)
    dialect = Dialect(",", ("user", "item", "time"), True)
    got = [row for part in delimited._records(iter(cut), dialect) for row in part.frame.rows()]
    assert got == rows


@settings(max_examples=300, deadline=None)
@given(text=st.text('a",\n\r', max_size=60) | st.text("a,\n\r\0 ", max_size=60))
def test_the_three_ways_of_parsing_agree_and_lose_no_line(text: str) -> None:
    dialect = Dialect(",", ("a", "b"), False)
    lines_ = list(io.StringIO(text, newline=""))
    fast, carry = delimited._parse(text, dialect, header=False, final=True)
    careful, rest = delimited._parse_with_care(lines_, dialect, final=True)
    assert carry == rest == ""
    assert fast.frame.rows() == careful.frame.rows()
    assert (fast.at or list(range(fast.frame.height))) == careful.at
    assert fast.faults == careful.faults
    numbers = sorted([*(careful.at or []), *(number for number, _ in careful.faults)])
    assert numbers == list(range(careful.count))


def test_json_arrays_survive_any_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    pl.DataFrame(
        {
            "user": [f"ü{at}" for at in range(300)],
            "item": ["] }, {"] * 300,
            "ts": [1_300_000_000] * 300,
        }
    ).write_json(path)
    text = path.read_text().replace("},{", "},\n{")
    path.write_text(text)
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(files, "BLOCK_BYTES", size)
        monkeypatch.setattr(files, "_READ_BYTES", size)
        assert read(path)[0]["user_id"].to_list() == [f"ü{at}" for at in range(300)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_reading_a_million_rows_needs_no_more_memory_than_reading_a_few(tmp_path: Path) -> None:
    """Peak resident memory of a fresh process, minus that of one which reads a tenth of the
    rows.
    """
    block = "".join(
        f"user{at % 997},item{at % 9973},{1_300_000_000 + at},click\n" for at in range(100_000)
    )
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    with small.open("w") as one, large.open("w") as many:
        one.write("user,item,time,event\n" + block)
        many.write("user,item,time,event\n")
        for _ in range(10):
            many.write(block)
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from wayline.intake import read_actions
        chunks = read_actions(sys.argv[1], now_ts_ms=1_400_000_000_000)
        rows = sum(chunk.frame.height for chunk in chunks)
        peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]
        print(rows, int(peak) // 1024)
        """
    )
    peaks = []
    for path, rows in ((small, 100_000), (large, 1_000_000)):
        out = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
        )
        got, peak_mb = map(int, out.stdout.split())
        assert got == rows
        peaks.append(peak_mb)
    assert peaks[1] - peaks[0] < 150, f"peak MiB of small and large: {peaks}"


def test_rejects_are_written_one_object_a_line(tmp_path: Path) -> None:
    import json

    path = tmp_path / "rejects.jsonl"
    with RejectsWriter(path) as writer:
        writer.write([])
    assert not path.exists()
    with RejectsWriter(path, source="a.csv") as writer:
        writer.write([Rejection(3, "ts", "naïve")])
        writer.write([Rejection(4, "file", "cut")])
    assert writer.count == 2
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert rows[0] == {"source": "a.csv", "index": 3, "field": "ts", "reason": "naïve"}
    assert rows[1]["index"] == 4
