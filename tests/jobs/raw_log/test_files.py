"""Files of any shape: each value arrives as it was written, or the file or row is refused with a reason."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.lake.errors import user_message
from jobs.lake.tables.table import DATE, DOUBLE, STRING, STRINGS, TIME, struct
from jobs.raw_log.files import file_errors, open_source
from jobs.raw_log.files.reading import read_file
from tests.jobs.raw_log.reading import PAIRS, parsed, read, write

H = "user_id,item_id\n"
CUT = "row cannot be parsed"
FRACTION = "user_id is a whole number with a fraction, such as 12.0"
LIST = "user_id is a list or an object, not one value"
SHAPES = {
    "columns in another order, and more of them": ({"a.csv": H + "u1,i1\n", "b.csv": "item_id,x,user_id\ni2,x,u2\n"}, [("u1", "i1"), ("u2", "i2")], {}),
    "folders in folders, files that are hidden or empty": ({"x/y/a.csv": H + "u1,i1\n", "b.csv": H + "u2,i2\n", "_SUCCESS": "", "c.csv": "", "_tmp/d.csv": "z\n1\n"}, [("u1", "i1"), ("u2", "i2")], {}),
    "names of files with characters of a pattern": ({"a [1]*?.csv": H + "u1,i1\n", "b {x}%20.csv": "item_id,user_id\ni2,u2\n"}, [("u1", "i1"), ("u2", "i2")], {}),
    "doubled quotes, a backslash, commas and spaces": ({"a.csv": H + '"u,\'x""",1\n"a ""b"", c",2\n"ends\\",3\n lead,trail \n'}, [(" lead", "trail "), ('a "b", c', "2"), ("ends\\", "3"), ("u,'x\"", "1")], {}),
    "quotes inside cells without quotes": ({"a.csv": H + '5" x,i1\n6" x,i2\n'}, [('5" x', "i1"), ('6" x', "i2")], {}),
    "line ends inside cells": ({"a.csv": H + '"u\n1","i\r\n2"\nu2,i2\n'}, [("u\n1", "i\r\n2"), ("u2", "i2")], {}),
    "line ends inside cells, lines that end with CRLF": ({"a.csv": H.strip() + '\r\n"u\n1","i\r\n2"\r\nu2,i2\r\n'}, [("u\n1", "i\r\n2"), ("u2", "i2")], {}),
    "CRLF": ({"a.csv": "user_id,item_id\r\nu1,i1\r\nu2,i2\r\n"}, [("u1", "i1"), ("u2", "i2")], {}),
    "CR inside a cell": ({"a.csv": H + "u\r1,i1\nu2,i\r2\n"}, [("u\r1", "i1"), ("u2", "i\r2")], {}),
    "CR at the end of a line that may be of the cell": ({"a.csv": H + 'u1,"i1\r"\nu2,i2\r\nu3,i3\n'}, [("u3", "i3")], {CUT: 2}),
    "a byte order mark": ({"a.csv": "\ufeff" + H + "u1,i1\n", "b.csv": "\ufeff" + H + 'u2,"i\n2"\n'}, [("u1", "i1"), ("u2", "i\n2")], {}),
    "empty cells, in quotes or not": ({"a.csv": H + '"",i1\n,i2\nu3,i3\n\n'}, [("u3", "i3")], {"user_id is missing": 2}),
    "too few and too many cells": ({"a.csv": H + "a,b,c\na\na,b\n"}, [("a", "b")], {CUT: 2}),
    "names with dots, spaces, backticks, or none": ({"a.csv": ",user_id,device.type,item_id,`x`, y\n0,u1,a,i1,1,2\n1,u2\n"}, [("u1", "i1")], {CUT: 1}),
    "the replacement character": ({"a.csv": H + "\ufffd,i\n"}, [("\ufffd", "i")], {}),
    "ids that were taken for fractions": ({"a.csv": H + "12.0,i1\n1.2345678901234567e+19,i2\n1E+18,i2\n1e3,i5\n1.2,i3\nv1.0,i4\n"}, [("1.2", "i3"), ("1e3", "i5"), ("v1.0", "i4")], {FRACTION: 3}),
    "ids that are words for a missing value": ({"a.csv": H + "\\N,i\nnan,i\nNone,i\nNA,i\nnanny,NULLA\n"}, [("nanny", "NULLA")], {"user_id is a word for a missing value, such as nan": 4}),
    "text in names of folders": ({"user_id=0042/a.csv": "item_id\n007\n", "user_id=a%2Fb/a.csv": "item_id\ni1\n", "user_id=__HIVE_DEFAULT_PARTITION__/a.csv": "item_id\ni2\n"}, [("0042", "007"), ("a/b", "i1")], {"user_id is missing": 1}),
    "text in names of folders, JSON": ({"user_id=0042/a.json": '{"item_id":"007"}\n', "user_id=7/b.json": '{"item_id":7}\n'}, [("0042", "007"), ("7", "7")], {}),
    "JSON numbers and truth values": ({"a.jsonl": '{"user_id":1,"item_id":12345678901234567890123}\n{"user_id":1.0,"item_id":1}\n{"user_id":true,"item_id":1.10}\n{"user_id":null,"item_id":""}\n'}, [("1", "12345678901234567890123"), ("true", "1.10")], {FRACTION: 1, "user_id is missing": 1}),
    "JSON names with dots and backticks": ({"a.jsonl": '{"user_id":"u","item_id":"i","device.type":"x","a`b":1}\n{"user_id":"u","a`b":{"c.d":1}}\n'}, [("u", "i")], {"item_id is missing": 1}),
    "JSON text with braces": ({"a.jsonl": '{"user_id":"}{","item_id":"\\"}{"}\n'}, [("}{", '"}{')], {}),
    "JSON with a byte order mark and CRLF": ({"a.jsonl": '\ufeff{"user_id":"u","item_id":1}\r\n{"user_id":"u","item_id":2}\r\n'}, [("u", "1"), ("u", "2")], {}),
    "JSON whose lines have other names and kinds of values": ({"a.jsonl": '{"user_id":"u","item_id":1}\n{ \'item_id\' : "a\\"}{" , "user_id":["x", "y"],"z":{"a":[]}}\n{"user_id":null,"z":{"a":[{"b":1}]}}\n[{"user_id":"v","item_id":"j"},{"user_id":"w","item_id":"k"}]\n{"user_id":"cut\n\n'}, [("u", "1"), ("v", "j"), ("w", "k")], {CUT: 1, "user_id is missing": 1, LIST: 1}),
    "JSON ids that are text, a list or an object by line": ({"a.jsonl": '{"user_id":"u","item_id":"[REC]"}\n{"user_id":["u"],"item_id":1}\n{"user_id":{"id":"u"},"item_id":1}\n{"user_id":[],"item_id":1}\n{"user_id":7,"item_id":"{6F9619FF-8B86}"}\n'}, [("7", "{6F9619FF-8B86}"), ("u", "[REC]")], {LIST: 3}),
    "ids that are lists as programs print them": ({"a.csv": H + """['u' 'v'],i\n"[""u""]",i\n"{'u', 'v'}",i\n[1 2],i\n[None],i\n{},i\n{u},[u]\n[1,i\n"""}, [("[1", "i"), ("{u}", "[u]")], {LIST: 6}),
    "JSON with surrogate pairs and backslashes before them": ({"a.jsonl": '{"user_id":"\\ud83d\\ude00","item_id":"\\\\ud83d"}\n'}, [("\U0001f600", "\\ud83d")], {}),
    "compressed": ({"a.csv.gz": gzip.compress((H + "u1,i1\n").encode())}, [("u1", "i1")], {}),
}  # fmt: skip
REFUSED = {
    "a file without a required column": ({"a.csv": H + "u1,i1\n", "b.csv": "item_id,x\ni,x\n"}, r"b.csv must have the columns \['user_id'\], got \['item_id', 'x'\]"),
    "Latin-1": ({"a.csv": (H + "rené,i1\nrenè,i2\n").encode("latin-1")}, "a.csv must be UTF-8 text, got 2 other lines; --encoding"),
    "Latin-1, JSON": ({"a.jsonl": '{"user_id":"rené","item_id":"i"}\n'.encode("latin-1")}, "a.jsonl must be UTF-8 text"),
    "UTF-16": ({"a.csv": (H + "u,i\n").encode("utf-16")}, "a.csv must be UTF-8 text"),
    "UTF-16, JSON": ({"a.jsonl": '{"user_id":1,"item_id":2}\n'.encode("utf-16")}, "a.jsonl must be UTF-8 text, got 1 other lines"),
    "UTF-16 without a mark, JSON": ({"a.jsonl": '{"user_id":1,"item_id":2}\n'.encode("utf-16-le")}, "a.jsonl must not have the character NUL, which UTF-16 has"),
    "half of a surrogate pair": ({"a.jsonl": '{"user_id":"\\\\\\ud83d","item_id":2}\n{"user_id":"\\uDE00","item_id":2}\n{"user_id":"\\ud83d\\ude00","item_id":2}\n'}, r"a.jsonl must not have half of a surrogate pair, such as .*, got 2 lines with it"),
    "JSON over several lines": ({"a.json": json.dumps([{"user_id": 1, "item_id": 2}], indent=2)}, "logs must have one JSON object per line, got no line with one"),
    "NUL": ({"a.csv": H + 'u1,"i""\0;"\n'}, "a.csv must not have the character NUL, got 1 lines with it"),
    "a quote that is not closed": ({"a.csv": H + 'u1,"i1\nu2,i2\n'}, "a.csv must close each quoted cell, got 1 quotes"),
    "text after a quoted cell": ({"a.csv": H + '"u1"x,i1\nu2,i2\n'}, "cannot be read.*quote"),
    "lines that end with CR": ({"a.csv": "user_id,item_id\ru1,i1\r"}, "a.csv must begin with a CSV header, on a line that ends with"),
    "cells separated by semicolons": ({"a.csv": "\ufeffuser_id;item_id\r\nu;i\r\n"}, r"a.csv must have ',' between its cells, got 'user_id;item_id'; --separator ';' reads such a file"),
    "cells in quotes, separated by semicolons": ({"a.csv": '"user_id";item_id\r\n"u";i\r\n'}, "a.csv must have ',' between its cells, got '\"user_id\";item_id'; --separator ';' reads such a file"),
    "cells separated by tabs": ({"a.csv": "user_id\titem_id\nu\ti\n"}, r"a.csv must have ',' between its cells, got 'user_id\\titem_id'; --separator '\\t' reads"),
    "a header of two lines": ({"a.csv": '"user\nid",item_id\n1,2\n'}, "a.csv must have its header on one line"),
    "names that differ in case": ({"a.csv": "user_id,User_Id,item_id\na,b,c\n"}, r"a.csv must have distinct column names, whatever their case, got \['user_id', 'User_Id'\]"),
    "names that differ in case, JSON": ({"a.jsonl": '{"user_id":"u","item_id":"i","User_Id":"x"}\n'}, "column `user_id` already exists"),
    "a column in the file and in the folder": ({"user_id=1/a.csv": H + "u1,i1\n"}, "must have distinct column names"),
    "a folder without a value": ({"user_id=/a.csv": "item_id\ni1\n"}, r"must have a value in the name of each folder, got \['user_id='\]"),
    "folders of different columns": ({"user_id=1/a.csv": "item_id\ni1\n", "b.csv": H}, "must have all its files in folders of the same columns"),
    "two JSON objects in a line": ({"a.jsonl": '{"user_id":1,"item_id":2}{"user_id":1,"item_id":2}\n'}, "a.jsonl must have one object per line, got 1 lines"),
    "files of two formats": ({"a.csv": H, "b.jsonl": "{}\n"}, "must have files of one format, got files of csv and jsonl"),
    "a file of no known format": ({"a.csv": H, "b.xls": "x"}, "--format must be given if a file name ends in none of .*, got file:.*b.xls"),
    "a folder without a file": ({"_SUCCESS": ""}, "logs must have a file, got an empty folder"),
    "a column that this program uses": ({"a.csv": "user_id,item_id,batch_recall.reason\nu,i,1\n"}, "must not begin with batch_recall., got batch_recall.reason"),
    "a header that is too long": ({"a.csv": H[:-1] + "," + "x" * 1_000_000 + "\nu,i,1\n"}, "a.csv must have a header of at most 1,000,000 characters"),
    "a Delta table as files": ({"t/_delta_log/0.json": "{}\n", "t/ds=1/a.csv": H + "u,i\n"}, "logs must not be files of a Delta table, .*; give the folder of the table: file:.*/logs/t$"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_each_value_arrives_as_it_was_written(spark: SparkSession, tmp_path: Path, shape: str) -> None:
    files, rows, refused = SHAPES[shape]
    assert read(spark, write(tmp_path / "logs", files)) == (sorted(rows, key=str), refused)


@pytest.mark.parametrize("shape", REFUSED)
def test_a_file_that_cannot_be_read_as_it_was_meant_is_refused(
    spark: SparkSession, tmp_path: Path, shape: str, capfd: pytest.CaptureFixture[str]
) -> None:
    files, message = REFUSED[shape]
    with pytest.raises(ValueError, match=message):
        read(spark, write(tmp_path / "logs", files))
    assert "ERROR" not in capfd.readouterr().err  # Spark's own messages would stand before the one that helps


def test_parquet_files_are_merged_by_name_or_refused(spark: SparkSession, tmp_path: Path) -> None:
    schema = struct(ds=DATE, user_id=STRING, reward=DOUBLE)
    pd.DataFrame({"user_id": ["a"]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"reward": [2.5], "user_id": ["b"], "device.type": ["x"]}).to_parquet(tmp_path / "2.parquet")
    assert read(spark, tmp_path, schema) == ([("a", None), ("b", 2.5)], {})
    pd.DataFrame({"reward": ["2.5"], "user_id": ["b"]}).to_parquet(tmp_path / "3.parquet")
    with pytest.raises(
        ValueError, match=r'cannot be read as parquet: .*merge incompatible data types "DOUBLE" and "STRING"'
    ):
        read(spark, tmp_path, schema, file_format="parquet")


def test_a_column_without_a_value_has_the_type_of_other_files(spark: SparkSession, tmp_path: Path) -> None:
    """pandas writes a column of nothing but None as integers."""
    schema = struct(ds=DATE, user_id=STRING, genres=STRINGS)
    pd.DataFrame({"user_id": ["a"], "genres": [None]}).to_parquet(tmp_path / "1.parquet")
    assert read(spark, tmp_path / "1.parquet", schema) == ([("a", None)], {})
    pd.DataFrame({"user_id": ["b"], "genres": [["x"]]}).to_parquet(tmp_path / "2.parquet")
    assert read(spark, tmp_path, schema) == ([("a", None), ("b", ["x"])], {})


def test_times_in_nanoseconds_are_cut_to_microseconds(spark: SparkSession, tmp_path: Path) -> None:
    schema = struct(ds=DATE, user_id=STRING, clicked_at=TIME)
    times = pd.to_datetime(["1850-06-01 10:00:00.123456789", "2026-01-05 10:00:00.999999999", None])
    path = tmp_path / "clicks.parquet"
    pd.DataFrame({"user_id": [2**53 + 1, 2, 3], "clicked_at": times}).to_parquet(path)  # pandas' default
    cut = [
        (str(2**53 + 1), dt.datetime(1850, 6, 1, 10, 0, 0, 123456)),
        ("2", dt.datetime(2026, 1, 5, 10, 0, 0, 999999)),
    ]
    assert read(spark, path, schema) == (sorted(cut, key=str), {"clicked_at is missing": 1})
    folder = tmp_path / "folder"
    folder.mkdir()
    pq.write_table(pa.table({"user_id": ["a"]}), folder / "0.parquet")  # the first file has no such column
    pq.write_table(pa.table({"user_id": ["b"], "clicked_at": pa.array([1], pa.timestamp("ns"))}), folder / "1.parquet")
    assert read(spark, folder, schema) == ([("b", dt.datetime(1970, 1, 1))], {"clicked_at is missing": 1})
    pq.write_table(pa.table({"user_id": ["a"], "clicked_at": pa.array([1], pa.timestamp("ns"))}), folder / "1.parquet")
    pq.write_table(pa.table({"user_id": ["a"], "clicked_at": pa.array([1], pa.int64())}), folder / "2.parquet")
    with pytest.raises(
        ValueError, match=r"must have \['clicked_at'\] as times in all files, or in none; .*2.parquet differs"
    ):
        read(spark, folder, schema, file_format="parquet")


def test_fractional_ids_of_a_parquet_file_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    pd.DataFrame({"user_id": [1, None], "item_id": ["a", "b"]}).to_parquet(path)
    with pytest.raises(ValueError, match="user_id must be string, got double; write whole numbers or text"):
        read(spark, path)


def test_a_file_without_line_ends_in_cells_is_read_in_parts(spark: SparkSession, tmp_path: Path) -> None:
    spark.conf.set("spark.sql.files.maxPartitionBytes", "10k")
    try:
        text = H + "".join(f'"u""{number}",i\n' for number in range(5_000))
        whole = write(tmp_path / "whole", {"a.csv": text + 'u,"i\n1"\n'})
        parts = write(tmp_path / "parts", {"a.csv": text})
        assert read_file(spark, str(whole), None).rdd.getNumPartitions() == 1
        rows = read_file(spark, str(parts), None)
        assert rows.rdd.getNumPartitions() > 3
        assert rows.select("user_id").distinct().count() == rows.count() == 5_000
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")


def test_the_folders_that_a_pattern_selects_give_columns(spark: SparkSession, tmp_path: Path) -> None:
    row, rows = "item_id\ni1\n", [("01", "i1"), ("02", "i1")]
    write(
        tmp_path,
        {f"env=prod/user_id={user}/a.csv": row for user in ("01", "02", "13")} | {"env=prod/b.csv": H + "u,i\n"},
    )
    assert read(spark, tmp_path / "env=prod" / "user_id=0*") == (rows, {})
    assert read(spark, tmp_path / "env=prod" / "user_id={01,02}" / "a*.csv", file_format="csv") == (rows, {})
    assert read(spark, tmp_path / "env=prod" / "*.csv") == ([("u", "i")], {})


def test_a_path_without_a_scheme_is_in_the_default_file_system(spark: SparkSession, tmp_path: Path) -> None:
    """As on a cluster, where that is HDFS: a Delta table there must not be read as files, with its old rows."""
    spark.sql("select 'u' as user_id, 'i' as item_id").write.format("delta").save(str(tmp_path / "log"))
    settings = {"fs.defaultFS": "viewfs://c/", "fs.viewfs.mounttable.c.link./logs": tmp_path.as_uri()}
    hadoop = spark._jsc.hadoopConfiguration()
    before = hadoop.get("fs.defaultFS")
    for name, value in settings.items():
        hadoop.set(name, value)
    try:
        source = open_source(spark, "/logs/log", None)
        assert (source.name, source.rows.collect()) == ("/logs/log version 0", [("u", "i")])
        for path in ("/logs", "/logs/*", "/logs/log/*.parquet"):
            with pytest.raises(ValueError, match=r"must not be files of a Delta table.*viewfs://c/logs/log$"):
                open_source(spark, path, "parquet")
    finally:
        hadoop.set("fs.defaultFS", before)


@pytest.mark.parametrize(
    "text",
    [
        "Job aborted: java.io.IOException: No space left on device",
        "Job aborted: java.net.SocketTimeoutException: Read timed out",
        "Lost task 0.3 in stage 1.0: ExecutorLostFailure (executor 2 exited caused by one of the running tasks)",
    ],
)
def test_what_the_environment_caused_is_no_fault_of_the_file(text: str) -> None:
    with pytest.raises(PySparkException, match=r"Job aborted|Lost task") as raised, file_errors("cannot be read"):
        raise PySparkException(text)
    assert user_message(raised.value) is not None  # so that the job ends with the exit code 75
    with pytest.raises(ValueError, match="cannot be read: malformed"), file_errors("cannot be read"):
        raise PySparkException("malformed")


def test_an_optional_column_in_another_case_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.csv": "user_id,Reward\nu,2.5\n"})
    with pytest.raises(ValueError, match="column reward must be written so, got Reward; or map it"):
        read(spark, folder, struct(ds=DATE, user_id=STRING, reward=DOUBLE))


def test_a_refused_row_keeps_the_columns_of_the_contract_beside_own_ones_of_any_name(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = write(tmp_path, {"a.csv": "item_id,user_id,reason,_group,_copy,_fault\n,u,why,2,3,4\n"})
    with parsed(spark, folder, PAIRS, "items").read() as file:
        (row,) = file.refused.collect()
    assert json.loads(row.row) == {"user_id": "u"}
    assert row.reason == "item_id is missing"
