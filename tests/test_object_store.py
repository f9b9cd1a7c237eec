"""A whole day with its lake on `s3a://`, against a local S3 server: `make test-s3` starts both.

The tests show that the lake works with this server (moto), not with AWS or another store.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession

from jobs import maintain_tables, publish_candidates, run_day, simulate_log, train_two_tower
from jobs.config.loading import Config, load_config
from jobs.inference.references import model_version, required_manifest
from jobs.lake import tables
from jobs.lake.files import delta_paths, read_text
from jobs.lake.integrity.log_store import UnsafeLogStore
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.session import spark_session
from jobs.report.files import report_path
from jobs.serving import PublishedCandidates, read_candidates
from jobs.serving.publications import published_candidates
from model.data.item_tables import ITEM_INDEX
from model.data.loaders import epoch_batches
from model.data.shards import shards
from model.data.verification import PinnedFileDamaged, check_files
from tests.conftest import DAYS
from tests.object_store import HOME, SECRET, Server, descriptors_to, moto_server, stored_files

pytestmark = pytest.mark.skipif(HOME is None, reason="make test-s3 runs it, with a server and JARs of its own")

DAY, NEXT = DAYS[:2]
CONFIG = """
[lake]
single_driver = true
[training]
epochs = 2
batch_size = 256
threads = 2
validation = "none"
[tracking]
uri = "none"
[index]
backend = "exact"
build_backends = ["exact", "annoy"]
annoy_trees = 10
recall_sample_users = 100
[scoring]
candidates_per_user = 50
[evaluation]
cutoffs = [10, 20, 50]
[negatives]
corpus = 128
unclicked = 32
"""
CLOCK = {"seconds", "build_seconds", "users_per_second", "scored_at", "published_at"}  # columns that differ in each run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with moto_server(tmp_path_factory.mktemp("server") / "requests.log") as started:
        yield started


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with everything that the processes of the day print, including the JVM and the trainer."""
    return tmp_path_factory.mktemp("output") / "output.txt"


@pytest.fixture(scope="module")
def spark(server: Server, output: Path) -> Iterator[SparkSession]:
    with pytest.MonkeyPatch.context() as patch, output.open("a") as out, descriptors_to(out.fileno()):
        patch.setenv("PYSPARK_SUBMIT_ARGS", server.submit_args)
        session = spark_session("object store", small_days=True)
    yield session
    session.stop()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("config") / "s3.toml"
    file.write_text(CONFIG, "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def config(path: str) -> Config:
    return load_config(path)


def run_a_day(lake: Lake, config: str) -> float:
    """Land two days and run the first; returns the seconds of the run."""
    common = ["--lake", lake.uri, "--config", config, "--ds", str(DAY)]
    simulate_log.main([*common, "--days", "2", "--users", "150", "--items", "100", "--late", "0.1"])
    began = time.monotonic()
    run_day.main([*common, "--against", str(NEXT)])
    return time.monotonic() - began


@dataclass(frozen=True)
class Ran:
    """The same day on both kinds of lake."""

    remote: Lake
    local: Lake


@pytest.fixture(scope="module")
def ran(spark: SparkSession, server: Server, output: Path, path: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    remote, local = Lake(spark, "s3a://bucket/lake"), Lake(spark, str(tmp_path_factory.mktemp("local") / "lake"))
    with pytest.raises(NoSuchDay, match="nothing is published"):
        read_candidates(remote.uri)
    with output.open("a", buffering=1) as out, redirect_stdout(out), redirect_stderr(out), descriptors_to(out.fileno()):
        seconds = run_a_day(remote, path)
    requests = server.requests
    print(f"\na day on {remote.uri}: {seconds:.0f} s, {requests:,} requests with the landing of two days")
    print(f"a day on a local disk, in the same session after it: {run_a_day(local, path):.0f} s")
    return Ran(remote, local)


def rows_of(lake: Lake, name: str) -> list[str]:
    rows: DataFrame = lake.spark.read.format("delta").load(lake.path(name))
    return sorted(map(str, rows.select(sorted(set(rows.columns) - CLOCK)).collect()))


def test_the_tables_equal_those_on_a_local_disk(ran: Ran) -> None:
    written = sorted(folder.parent.name for folder in Path(ran.local.uri).glob("*/_delta_log"))
    assert len(written) > 20
    assert sorted(delta_paths(ran.remote.spark, ran.remote.uri)) == written
    for name in written:
        rows = rows_of(ran.local, name)
        assert rows or name == "unclicked_items", name  # on a first day no exposure window has closed
        assert rows_of(ran.remote, name) == rows, name


def test_petastorm_reads_each_pinned_row_once(ran: Ran, config: Config) -> None:
    """The trainer checks the row count; here every row is compared."""
    table = tables.training_examples(config)
    pinned = ran.remote.pinned(table, DAY, 1)
    assert all(file.startswith("s3a://bucket/lake/training_examples/ds=") for file in pinned.files)
    trained = required_manifest(ran.remote, model_version(ran.remote, DAY))
    assert trained["metrics"]["training_rows"] == pinned.rows
    (whole,) = shards(pinned.files, check_files("training_examples", pinned, ["item_index"]), 256)
    read = [int(index) for batch in epoch_batches(whole, [ITEM_INDEX], seed=1) for index in batch["item_index"]]
    assert sorted(read) == sorted(row.item_index for row in ran.remote.day(table, DAY).collect())
    lost = replace(pinned, files=(*pinned.files, pinned.files[0].replace("part-", "gone-")))
    with pytest.raises(PinnedFileDamaged, match=r"gone-\S+: it is missing"):
        check_files("training_examples", lost, ["item_index"])


def test_the_publication_is_read_without_spark(ran: Ran) -> None:
    """delta-rs finds the publication and its files, and pyarrow reads the same rows as Spark."""
    current = published_candidates(ran.remote)
    lists = {row.user_id: [item.item_id for item in row.candidates] for row in current.collect()}
    assert len(lists) == 150
    read = read_candidates(f"{ran.remote.uri}/")
    assert read.groupby("user_id", sort=False)["item_id"].agg(list).to_dict() == lists
    user = min(lists)
    found = PublishedCandidates.current(ran.remote.uri).lists_for([user, "nobody"])
    assert list(found["item_id"]) == lists[user]
    assert set(found["user_id"]) == {user}


def test_the_day_leaves_a_report_and_no_draft(ran: Ran) -> None:
    page = read_text(lambda: ran.remote.spark, report_path(ran.remote.uri, DAY))
    assert page is not None
    assert page.rstrip().endswith("</html>")
    assert [path for path in stored_files("bucket/lake") if ".draft" in path] == []


def test_nothing_secret_is_said(ran: Ran, output: Path) -> None:
    text = output.read_text("utf-8")
    assert "publish_candidates" in text
    assert "incubator modules" in text  # the first line of the JVM
    jvm = ran.remote.spark._jvm.java.lang.ProcessHandle.current().pid()  # type: ignore[union-attr]
    assert SECRET not in text + Path(f"/proc/{jvm}/cmdline").read_text("utf-8")


@pytest.mark.parametrize("launch", ["process", "spark_executors"])
def test_training_continues_from_checkpoints_in_the_store(
    ran: Ran, tmp_path: Path, launch: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first attempt loses its model on the way into the lake; nothing but the second one's model is left."""
    file, root = tmp_path / "checkpoints.toml", f"bucket/lake/variants/{launch}"
    variant = f'[variants.{launch}.training]\nlaunch = "{launch}"\ncheckpoint_steps = 1\n'
    file.write_text(CONFIG + variant, "utf-8")
    command = ["--lake", ran.remote.uri, "--config", str(file), "--ds", str(DAY), "--variant", launch]
    with monkeypatch.context() as patch:
        patch.setattr("jobs.training.launch.put_folder", lost)
        with pytest.raises(OSError, match="lost"):
            train_two_tower.main(command)
    assert len([path for path in stored_files(f"{root}/checkpoints") if path.endswith("state.json")]) == 2
    capfd.readouterr()
    train_two_tower.main(command)
    assert "continues after step" in "".join(capfd.readouterr())  # what executors print reaches the driver's stderr
    assert stored_files(f"{root}/checkpoints") == []
    models = {path.removeprefix(f"{root}/models/").split("/")[0] for path in stored_files(f"{root}/models")}
    assert models == {model_version(ran.remote.of_variant(launch), DAY)}


def lost(*_: object) -> None:
    raise OSError("the model was lost")


def test_a_second_driver_is_refused(ran: Ran) -> None:
    before = ran.remote.version(tables.PUBLICATIONS)
    with pytest.raises(
        UnsafeLogStore, match=r"s3a://bucket/lake, which Delta writes through \S*S3SingleDriverLogStore"
    ):
        publish_candidates.main(["--lake", ran.remote.uri, "--rollback"])
    assert ran.remote.version(tables.PUBLICATIONS) == before


def test_tables_are_compacted_and_vacuumed(ran: Ran, path: str) -> None:
    common = ["--lake", ran.remote.uri, "--config", path]
    before = rows_of(ran.remote, "interactions")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    assert maintain_tables.main([*common, "--at", later.isoformat()]) > 20
    assert rows_of(ran.remote, "interactions") == before
    assert read_candidates(ran.remote.uri)["user_id"].nunique() == 150


def test_a_damaged_commit_is_named_and_repaired(ran: Ran, server: Server) -> None:
    """The command in the error runs in another process, because Delta caches table versions in this one."""
    lake, store = ran.remote, fs.S3FileSystem(scheme="http", endpoint_override=os.environ["AWS_ENDPOINT_URL"][7:])
    whole = lake.version(tables.GATE)
    with store.open_output_stream(f"bucket/lake/gate/_delta_log/{whole + 1:020d}.json") as file:
        file.write(b"")
    with pytest.raises(
        ValueError, match=r"table gate in s3a://bucket/lake/gate is damaged: commit \d+ is empty"
    ) as told:
        lake.read(tables.GATE)
    command = str(told.value).rpartition("to restore it: python ")[2].split()
    options = os.environ | {"PYSPARK_SUBMIT_ARGS": server.submit_args}
    done = subprocess.run([sys.executable, *command], env=options, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert lake.version(tables.GATE) == whole
