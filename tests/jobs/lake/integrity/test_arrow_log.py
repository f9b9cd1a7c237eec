"""A log that is read without Spark has the same files and faults as one that Hadoop reads, checksums included."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.lake.files import hadoop_path
from jobs.lake.integrity import arrow_log, hadoop_log
from jobs.lake.integrity.delta_log import HINT, DeltaLog, UnreadableFile, commit_name
from jobs.lake.snapshots import url_of
from tests.jobs.lake.integrity.damages import (
    CHECKPOINT,
    CHECKPOINTS,
    COMMITS,
    GARBLED_CHECKPOINT,
    LAST,
    NO_OLD_COMMITS,
    Damage,
    cut,
)
from tests.jobs.lake.integrity.synthetic_log import write_log

SUM = 512  # bytes that one of Hadoop's checksums covers
DAMAGES: dict[str, Damage] = {
    "whole": lambda log: None,
    "garbled": GARBLED_CHECKPOINT,
    "old commits removed": NO_OLD_COMMITS,
    "a longer commit": cut(commit_name(LAST), lambda text: text + b"{}\n", True),
    "a byte of a commit": cut(commit_name(LAST), lambda text: text[:-3] + b"x" + text[-2:], True),
    "no log": shutil.rmtree,
    **{name: damage for name, (damage, *_) in (COMMITS | CHECKPOINTS).items()},
}


@pytest.fixture(scope="module")
def written(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose log was written through Hadoop, with its checksum files."""
    plain, table = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("table of 100%")
    write_log(plain / "log")
    for file in sorted((plain / "log").glob("[!.]*")):
        write(spark, table / "_delta_log" / file.name, file.read_bytes())
    log = table / "_delta_log"
    assert all((log / f".{name}.crc").read_bytes()[:4] == b"crc\0" for name in (HINT, CHECKPOINT, commit_name(LAST)))
    return table


def write(spark: SparkSession, file: Path, content: bytes) -> None:
    filesystem, path = hadoop_path(spark, str(file))
    stream = filesystem.create(path)
    stream.write(bytearray(content))
    stream.close()


@pytest.fixture
def table(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "a table [of 100%]"))


def read_both_ways(spark: SparkSession, table: Path) -> list[DeltaLog | None]:
    return [arrow_log.read_log(str(table), url_of(str(table))), hadoop_log.read_log(spark, str(table))]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_same_files_and_faults_are_found(damage: Damage, spark: SparkSession, table: Path) -> None:
    damage(table / "_delta_log")
    by_arrow, by_hadoop = read_both_ways(spark, table)
    if by_arrow is None or by_hadoop is None:
        assert by_arrow is by_hadoop is None
        assert not (table / "_delta_log").exists()
        return
    assert sorted(by_arrow.names) == sorted(by_hadoop.names)
    assert (by_arrow.hint, by_arrow.last_version) == (by_hadoop.hint, by_hadoop.last_version)
    for name in by_arrow.names:
        assert by_arrow.storage.size(name) == by_hadoop.storage.size(name)
    for version in (None, 4, 7, 10, LAST, LAST + 1):
        assert by_arrow.first_fault(version) == by_hadoop.first_fault(version)


@pytest.mark.parametrize("start", [0, 1, SUM - 1, SUM, SUM + 1, -8, -1, None])
def test_a_checkpoint_is_read_and_verified_from_an_offset(start: int | None, spark: SparkSession, table: Path) -> None:
    file, content = table / "_delta_log" / CHECKPOINT, bytes(number % 251 for number in range(5 * SUM + 100))
    write(spark, file, content)
    offset = len(content) if start is None else start % len(content)
    for log in read_both_ways(spark, table):
        assert log is not None
        assert log.storage.read(CHECKPOINT, offset) == content[offset:]
    file.write_bytes(content[:3] + b"x" + content[4:])  # only the first checksum does not match any more
    for log in read_both_ways(spark, table):
        assert log is not None
        assert log.storage.read(CHECKPOINT, offset, verify_checksum=False)[-8:] == content[offset:][-8:]
        if offset < SUM:
            with pytest.raises(UnreadableFile, match="does not match its checksum"):
                log.storage.read(CHECKPOINT, offset)
        else:
            assert log.storage.read(CHECKPOINT, offset) == content[offset:]
