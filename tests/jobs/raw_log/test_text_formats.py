"""Text files in another encoding, or with another separator than the comma, are read if it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.jobs.raw_log.reading import read, write

H = "user_id,item_id\n"


def test_text_in_another_encoding_is_read_if_it_is_named(spark: SparkSession, tmp_path: Path) -> None:
    text, rows = H + 'rené,i1\nrenè,"i\n2"\n', [("renè", "i\n2"), ("rené", "i1")]
    for number, encoding in enumerate(("latin1", "windows-1252", "UTF-16")):
        folder = write(tmp_path / str(number), {"a.csv": text.encode(encoding)})
        assert read(spark, folder, encoding=encoding) == (rows, {})
    lines = write(tmp_path / "json", {"a.jsonl": '{"user_id":"rené","item_id":1}\n'.encode("latin-1")})
    assert read(spark, lines, encoding="ISO-8859-1") == ([("rené", "1")], {})
    with pytest.raises(ValueError, match="--encoding of JSON lines must not be UTF-16LE; write the file as UTF-8"):
        read(spark, lines, encoding="UTF-16LE")
    damaged = write(tmp_path / "damaged", {"a.csv": H.encode() + b"x\x81,i1\n"})
    with pytest.raises(ValueError, match=r"a.csv must be windows-1252 text, got 1 other lines"):
        read(spark, damaged, encoding="windows-1252")
    for name in ("klingon", "latin 1", ""):
        with pytest.raises(
            ValueError, match=rf"--encoding must be an encoding that Java knows, such as .*, got {name}$"
        ):
            read(spark, damaged, encoding=name)


def test_another_separator_is_read_if_it_is_named(spark: SparkSession, tmp_path: Path) -> None:
    for number, (mark, end) in enumerate(((";", "\r\n"), ("\t", "\n"), ("|", "\n"))):
        lines = [f"user_id{mark}item_id", f'"u{mark}1"{mark}1,5', f'u2{mark}"i', '2"']
        folder = write(tmp_path / str(number), {"a.csv": "\ufeff" + end.join(lines) + end})
        rows = [("u2", f"i{end}2"), (f"u{mark}1", "1,5")]
        assert read(spark, folder, separator=mark) == (sorted(rows, key=str), {})
    commas = write(tmp_path / "commas", {"a.csv": H + "u,i\n"})
    with pytest.raises(
        ValueError, match=r"a.csv must have ';' between its cells, got 'user_id,item_id'; --separator ','"
    ):
        read(spark, commas, separator=";")
    for mark in ("", ";;", '"', "\n"):
        with pytest.raises(ValueError, match="--separator must be one character that is no quote or line end, got"):
            read(spark, commas, separator=mark)
