"""Files by URL, on local disks and in object stores, and how Petastorm reads them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from model.data import file_systems
from model.data.file_systems import PetastormFileSystem, open_file, petastorm_urls, resolve_url


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    file_systems._s3.cache_clear()


def test_a_local_file_is_found_under_its_url(tmp_path: Path) -> None:
    file = tmp_path / "a b" / "ds=2026-01-31.parquet"
    file.parent.mkdir()
    pq.write_table(pa.table({"x": [1]}), file)
    assert pq.read_table(open_file(file.as_uri())).num_rows == 1
    assert petastorm_urls([file.as_uri()]) == ([f"file://{file}"], None)
    with pytest.raises(FileNotFoundError):
        open_file(f"{file.as_uri()}.crc")


@pytest.mark.parametrize("scheme", ["s3", "s3a", "s3n"])
def test_all_names_of_s3_resolve_to_one_store(endpoint: None, scheme: str) -> None:
    filesystem, path = resolve_url(f"{scheme}://bucket/lake/a%20b/ds=2026-01-31/part.parquet")
    assert path == "bucket/lake/a b/ds=2026-01-31/part.parquet"
    assert isinstance(filesystem, fs.S3FileSystem)
    assert filesystem.region == "eu-north-1"
    assert resolve_url("s3a://bucket/other")[0] is filesystem


def test_petastorm_gets_the_paths_below_the_bucket(endpoint: None) -> None:
    urls, through = petastorm_urls(["s3a://bucket/a%20b/1.parquet", "s3a://bucket/a%20b/2.parquet"])
    assert urls == ["file:///a b/1.parquet", "file:///a b/2.parquet"]
    assert through is not None
    assert through.root == "bucket"


@pytest.mark.parametrize("files", [1, 2])
def test_petastorm_reads_through_the_given_file_system(tmp_path: Path, files: int) -> None:
    from petastorm import make_batch_reader  # slow to import

    for number in range(files):
        pq.write_table(pa.table({"x": [10 * number, 10 * number + 1]}), tmp_path / f"{number}.parquet")
    urls = [f"file:///{number}.parquet" for number in range(files)]  # below the root, and nowhere else
    with make_batch_reader(urls, filesystem=PetastormFileSystem(fs.LocalFileSystem(), str(tmp_path))) as reader:
        read = sorted(int(x) for batch in reader for x in batch.x)
    assert read == [0, 1, 10, 11][: 2 * files]


def test_an_unsupported_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got abfss://c@a/x\.parquet"):
        resolve_url("abfss://c@a/x.parquet")
