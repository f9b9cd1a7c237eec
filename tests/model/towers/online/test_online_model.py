"""Online models without a lake: what is read, what is damaged, and how a later version is followed."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.artifacts.formats import OnlineModelCorrupt
from model.features import FeatureSpec
from model.towers import TwoTowers
from model.towers.online import OnlineModel, User
from model.towers.online.ids import SortedIds
from model.towers.online.inputs import Input
from tests.model.towers.online.small_online import small_towers, write_small

LOG_NUMBER = FeatureSpec("price", "tests.extensions.my_kind:LogNumber", 4, 1, "price", None)
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("online") / "version")


def follow(root: Path, version: str) -> None:
    (root / "current.json").write_text(json.dumps({"version": version}), "utf-8")


def test_ids_are_found_in_the_order_of_their_bytes() -> None:
    values = sorted(["", "a", "B", "ß", "z", "中", "\U0001f600", "a\nb", "￿"])
    ids = SortedIds(pa.array(values, pa.large_string()))
    assert [ids.position(value) for value in values] == [*range(len(values))]
    assert [ids.position(value) for value in ("A", "aa", "\U0001f601")] == [None] * 3
    for wrong in (["b", "a"], ["a", "a"], ["a", None]):
        with pytest.raises(ValueError, match="ids must ascend"):
            SortedIds(pa.array(wrong, pa.large_string()))


def test_a_reader_loads_neither_spark_nor_jobs(written: Path) -> None:
    code = f"""
import sys
from batch_recall import OnlineModel, User
found = OnlineModel({str(written)!r}).nearest(User("u1", ["i0"]), 2)
loaded = {{name.partition(".")[0] for name in sys.modules}}
heavy = {{"pyspark", "py4j", "delta", "deltalake", "polars", "faiss", "petastorm", "annoy", "mlflow"}}
assert not loaded & heavy, loaded & heavy
assert not [name for name in sys.modules if name.startswith("jobs.")]
print(len(found))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


def test_the_program_runs_without_this_repository(written: Path, tmp_path: Path) -> None:
    """u1 and its one click i0 have the rows 3 and 2; the other numbers are missing."""
    code = f"""
import json, sys, torch
program = torch.export.load({str(written / "user_tower.pt2")!r}).module()
missing = torch.full((1,), torch.nan)
found = program(torch.tensor([3]), torch.tensor([[2, 0, 0]]), missing, missing.expand(1, 2))
assert not [name for name in sys.modules if name.partition(".")[0] in ("model", "jobs", "batch_recall")]
print(json.dumps(found.tolist()))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), OnlineModel(written).embed([User("u1", ["i0"])])[0], atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "user_tower.pt2", "item_vectors.npy", "item_ids.parquet", "vocabulary-item_id.parquet"],
)
@pytest.mark.parametrize("damage", ["absent", "changed", "cut"])
def test_a_damaged_folder_is_refused(written: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = shutil.copytree(written, tmp_path / "copy")
    OnlineModel(folder)
    content = (folder / name).read_bytes()
    if damage == "absent":
        (folder / name).unlink()
    else:
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 1]) + content[middle + 1 :]
        (folder / name).write_bytes(content[:middle] + (b"" if damage == "cut" else changed))
    with pytest.raises(OnlineModelCorrupt, match=name):
        OnlineModel(folder)


def test_a_later_version_is_followed(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "one")
    write_small(tmp_path / "two", small_towers("recency"))
    follow(tmp_path, "one")
    first = OnlineModel.current(tmp_path)
    assert first.refreshed() is first
    before = first.nearest(User("u1"), 3)
    follow(tmp_path, "two")
    shutil.rmtree(tmp_path / "one")
    assert first.nearest(User("u1"), 3) == before  # a removed version is served to the end
    second = first.refreshed()
    assert (first.version, second.version) == ("one", "two")
    with pytest.raises(OnlineModelCorrupt, match=r"current.json must name a version, got"):
        OnlineModel.current(tmp_path / "nowhere")
    follow(tmp_path, "three")
    with pytest.raises(OnlineModelCorrupt, match=r"three/manifest.json must be a regular file"):
        second.refreshed()


def test_a_version_that_is_removed_while_it_is_opened_is_no_error(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(written, tmp_path / "two")
    follow(tmp_path, "one")
    real = Path.read_text

    def read_text(path: Path, *arguments: str) -> str:
        text = real(path, *arguments)
        if path.name == "current.json":
            follow(tmp_path, "two")  # an export, after the pointer was read
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    assert OnlineModel.current(tmp_path).version == "two"


def test_a_list_has_no_more_items_than_there_are(written: Path) -> None:
    online = OnlineModel(written)
    assert online.embed([]).shape == (0, 1, 6)
    assert {item for item, _ in online.nearest(User("u1", ["i0", "i2", "i5"]), 10)} == {"i1", "i3"}
    assert online.nearest(User("u1", ["i0", "i1", "i2", "i3"]), 10) == []
    assert len(online.nearest(User("u1"), 4)) == len(online.nearest(User("u1"), 5)) == 4


@pytest.mark.parametrize("wrong", [7, None, ["i1"], {"i1": 2}])
def test_ids_that_are_no_text_are_refused(written: Path, wrong: object) -> None:
    """Also before the clicks that the model reads, which are the last three."""
    online = OnlineModel(written)
    if wrong is not None:
        with pytest.raises(ValueError, match="user_id must be text, got"):
            User(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="history must have item ids as text, got"):
        User(None, [wrong, "i0", "i1", "i2", "i3"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="excluded must have item ids as text, got"):
        online.nearest(User(), 2, excluded=["i0", wrong])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="excluded must be several item ids, got 'i0'"):
        online.nearest(User(), 2, excluded="i0")


def test_numbers_that_are_not_finite_are_missing_and_vectors_of_another_length() -> None:
    age = Input("age", "numeric", "float32", ("batch",), None, None, None)
    found = age.tensor([1, 2.5, np.float32(0.5), np.int64(3), None, np.nan, np.inf, 1e300, 10**400], None)
    assert found[:4].tolist() == [1.0, 2.5, 0.5, 3.0]
    assert bool(found[4:].isnan().all())
    for wrong in (True, np.True_, "1", 1j):
        with pytest.raises(ValueError, match="age must be a number, got"):
            age.tensor([wrong], None)
    taste = Input("taste", "vector", "float32", ("batch", 2), None, None, None)
    found = taste.tensor([[1, 2], [1.0], [1, 2, 3], [4, None], None], None)
    assert found[0].tolist() == [1.0, 2.0]
    assert found.isnan().tolist() == [[False, False], [True, True], [True, True], [False, True], [True, True]]


def test_a_tower_without_clicks_leaves_them_out_of_the_items_alone(tmp_path: Path) -> None:
    towers = small_towers()
    without = replace(towers.spec, user=tuple(one for one in towers.spec.user if one.name != "history"))
    online = OnlineModel(write_small(tmp_path / "version", TwoTowers(without).eval()))
    assert online.manifest["history"] == ""
    np.testing.assert_array_equal(online.embed([User("u1", ["i0"])]), online.embed([User("u1")]))
    assert {item for item, _ in online.nearest(User("u1", ["i0"]), 4)} == {"i1", "i2", "i3"}


def test_numbers_of_a_kind_with_an_encoding_of_its_own_are_described() -> None:
    found = Input.of_feature(LOG_NUMBER, "history")
    assert found.encoding == "case when `price` between 0 and 1e300 then cast(log1p(`price`) as float) end"
    assert Input.from_json(json.loads(json.dumps(found.to_json()))) == found


NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
TIMES = [NOON - dt.timedelta(days=30), None, NOON - dt.timedelta(minutes=6)]  # six minutes have three binary digits


def test_clicks_may_have_times_where_the_tower_reads_them(tmp_path: Path) -> None:
    towers = small_towers("attention", gaps=True)
    online = OnlineModel(write_small(tmp_path / "version", towers))
    user = User("u1", ["i0", "i1", "i2"], clicked_at=TIMES)
    missing = torch.tensor([torch.nan])
    with torch.no_grad():
        values = {
            "user_id": torch.tensor([3]),
            "history": torch.tensor([[2, 3, 4]]),
            "history_gaps": torch.tensor([[2 + 16, 1, 2 + 3]]),
            "age": missing,
            "taste": missing.expand(1, 2),
        }
        want = towers.user(values).numpy()
    np.testing.assert_allclose(online.embed([user], NOON)[0], want, atol=1e-6)
    later = online.embed([user], NOON + dt.timedelta(days=400))[0]
    assert np.abs(later - want).max() > 1e-3
    in_another_zone = [time and time.astimezone(dt.timezone(dt.timedelta(hours=5))) for time in TIMES]
    other = User("u1", ["i3", "i0", "i1", "i2"], clicked_at=[None, *in_another_zone])  # the tower reads the last three
    np.testing.assert_array_equal(online.embed([other], NOON)[0], online.embed([user], NOON)[0])
    without = online.embed([User("u1", ["i0", "i1", "i2"])], NOON)
    np.testing.assert_array_equal(without, online.embed([User("u1", ["i0", "i1", "i2"])]))  # whenever that is
    assert online.nearest(user, 2, at=NOON) != online.nearest(user, 2, at=NOON + dt.timedelta(days=400))
    described = next(one for one in online.manifest["inputs"] if one["feature"] == "history_gaps")
    assert (described["dtype"], described["keeps"]) == ("int64", "last")
    assert "log2" in described["encoding"]
    with pytest.raises(ValueError, match=r"features must be among \['age', 'taste'\], got \['history_gaps'\]"):
        online.embed([User("u1", features={"history_gaps": [1]})])


def test_times_of_clicks_that_are_none_are_refused(written: Path) -> None:
    with pytest.raises(ValueError, match="clicked_at must have 2 times, got 1"):
        User("u1", ["i0", "i1"], clicked_at=[NOON])
    for wrong in (NOON.replace(tzinfo=None), "2026-03-02", 5):
        with pytest.raises(ValueError, match="clicked_at must be a datetime with a time zone, got"):
            User("u1", ["i0"], clicked_at=[wrong])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at must be a datetime with a time zone, got"):
        OnlineModel(written).embed([User("u1")], NOON.replace(tzinfo=None))
    timed = User("u1", ["i0"], clicked_at=[NOON])  # of a tower without gaps, times change nothing
    np.testing.assert_array_equal(OnlineModel(written).embed([timed]), OnlineModel(written).embed([User("u1", ["i0"])]))
