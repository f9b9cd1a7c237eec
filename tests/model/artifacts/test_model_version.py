"""A model folder loads with the same bits, is complete or absent, and is refused once it was changed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts import model_version as versions
from model.artifacts import verified_folder as folders
from model.artifacts.formats import MODEL, ModelCorrupt
from model.artifacts.model_version import ROW_SUMS, WEIGHTS, ModelVersion, load_model, save_model
from model.features import FeatureSpec, ModelSpec
from model.towers import TwoTowers

USER = FeatureSpec("user_id", "id", 4, 1, "user_index", "user_id")
AGE = FeatureSpec("age", "numeric", 2, 1, "age", None)
ITEM = FeatureSpec("item_id", "id", 4, 1, "item_index", "item_id")
SPEC = ModelSpec((USER, AGE), (ITEM,), {"user_id": 9, "item_id": 7}, 4, (5,))


def version(name: str) -> ModelVersion:
    return ModelVersion(name, SPEC, {"ds": "2026-03-01", "versions": {"a": 3}}, {"model": {"dim": 4}}, {"loss": 0.1})


def towers(seed: int = 0) -> TwoTowers:
    torch.manual_seed(seed)
    model = TwoTowers(SPEC)
    model.user.embedding("age").get_buffer("mean").fill_(31.7)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid model folder of version `v1`."""
    save_model(tmp_path / "model", towers(), version("v1"))
    return tmp_path / "model"


def is_whole(folder: Path, name: str, seed: int) -> bool:
    """Whether the folder loads as this version with the weights of that seed, bit for bit."""
    model, loaded = load_model(folder, name)
    got, want = model.state_dict(), towers(seed).state_dict()
    return (
        loaded == version(name) and got.keys() == want.keys() and all(torch.equal(got[key], want[key]) for key in want)
    )


def test_weights_buffers_and_manifest_come_back_bit_for_bit(folder: Path) -> None:
    assert is_whole(folder, "v1", seed=0)
    assert not torch.equal(towers(0).tables()[0], towers(1).tables()[0])


def test_a_loaded_model_computes_the_same_and_is_in_evaluation_mode(folder: Path) -> None:
    users = {"user_id": torch.tensor([2, 3, 99]), "age": torch.tensor([20.0, float("nan"), 40.0])}
    model, _ = load_model(folder)
    assert torch.equal(model.user(users), towers().user(users))
    assert not any(module.training for module in model.modules())


def test_a_shared_table_is_stored_once_and_comes_back_shared(tmp_path: Path) -> None:
    history = FeatureSpec("history", "item_list", 4, 3, "history", "item_id")
    spec = ModelSpec((USER, history), (ITEM,), SPEC.vocabulary_sizes, 4, (), share_item_table=True)
    torch.manual_seed(0)
    save_model(tmp_path / "model", TwoTowers(spec), replace(version("v1"), spec=spec))
    model, loaded = load_model(tmp_path / "model")
    table = model.item.embedding("item_id").get_parameter("table.weight")
    assert loaded.spec == spec
    assert model.user.embedding("history").get_parameter("table.weight") is table
    torch.manual_seed(0)
    assert torch.equal(table, TwoTowers(spec).item.embedding("item_id").get_parameter("table.weight"))


def test_nothing_but_its_own_files_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [MODEL.manifest, ROW_SUMS, WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_version_replaces_another(folder: Path) -> None:
    save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v2", seed=1)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_save_that_fails_leaves_nothing_behind(folder: Path) -> None:
    bad = ModelVersion("v2", SPEC, {}, {}, {"loss": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(folder, towers(1), bad)
    assert is_whole(folder, "v1", seed=0)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_rename_that_fails_brings_the_older_version_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through = os.rename
    refused: list[Path] = []

    def rename(source: Path, target: Path) -> None:
        if target == folder and not refused:
            refused.append(source)
            raise OSError("no space left")
        through(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="no space left"):
        save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v1", seed=0)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


class Killed(BaseException):
    """Simulates SIGKILL: nothing cleans up after it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Raise Killed instead of the function's call of this number, counted from 0."""
    through, calls = getattr(owner, name), []

    def dies(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) > call:
            monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # a killed process cleans nothing up
            raise Killed
        return through(*args, **kwargs)

    monkeypatch.setattr(owner, name, dies)


def torn_delete(folder: Path, **kwargs: Any) -> None:
    """Raise Killed in the middle of a deletion, after one file of several is gone."""
    if folder.exists():
        (folder / WEIGHTS).unlink()
        raise Killed


KILLS = [
    pytest.param(versions, "save_weights", 0, id="before the weights"),
    pytest.param(folders, "sha256", 0, id="before the manifest"),
    pytest.param(folders, "flush", 0, id="before the flush"),
    pytest.param(folders, "flush", 2, id="in the flush"),
    pytest.param(os, "rename", 0, id="before the first rename"),
]


@pytest.mark.parametrize(("owner", "name", "call"), KILLS)
def test_killed_before_the_rename_there_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    with monkeypatch.context() as patches:
        kill_at(patches, owner, name, call)
        with pytest.raises(Killed):
            save_model(tmp_path / "model", towers(), version("v1"))
    assert not (tmp_path / "model").exists()
    save_model(tmp_path / "model", towers(), version("v1"))  # a leftover draft does no harm
    assert is_whole(tmp_path / "model", "v1", seed=0)


@pytest.mark.parametrize(("owner", "name", "call"), KILLS)
def test_killed_before_the_rename_the_older_version_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    with monkeypatch.context() as patches:
        kill_at(patches, owner, name, call)
        with pytest.raises(Killed):
            save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v1", seed=0)


def test_killed_between_the_two_renames_there_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patches:
        kill_at(patches, os, "rename", 1)
        with pytest.raises(Killed):
            save_model(folder, towers(1), version("v2"))
    assert not folder.exists()
    save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v2", seed=1)


def test_what_a_kill_left_is_removed_once_it_is_old(folder: Path) -> None:
    left = [folder.with_name(name) for name in (".model.1.draft", ".model.2.old", ".other.1.draft", ".model.3.draft")]
    for path in left:
        (path / "half").mkdir(parents=True)
    for path in left[:3]:
        os.utime(path, (0, 0))
    save_model(folder, towers(1), version("v2"))
    assert [path.exists() for path in left] == [False, False, True, True]  # the last one may still be written


def test_killed_while_the_older_version_is_deleted_the_new_one_is_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "rmtree", torn_delete)
    with pytest.raises(Killed):
        save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v2", seed=1)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the manifest and make it match the present weights, as an attacker could."""
    manifest = json.loads((folder / MODEL.manifest).read_text())
    manifest["files"] = {WEIGHTS: MODEL.facts(folder / WEIGHTS)}
    (folder / MODEL.manifest).write_text(json.dumps(manifest | changes))


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def cut_the_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def cut_the_weights_and_forge_the_checksum(folder: Path) -> None:
    cut_the_weights(folder)
    rewrite(folder)


def remove_the_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def remove_the_manifest(folder: Path) -> None:
    (folder / MODEL.manifest).unlink()


def link(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return damage


def name_a_file(name: str) -> Callable[[Path], None]:
    """List a valid file outside the folder, with its checksum."""

    def damage(folder: Path) -> None:
        outside = folder.parent / "outside"
        outside.write_bytes(b"secret")
        absolute = name.replace("ABSOLUTE", str(outside))
        rewrite(folder, files={WEIGHTS: MODEL.facts(folder / WEIGHTS), absolute: MODEL.facts(outside)})

    return damage


def manifest_is(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / MODEL.manifest).write_text(text)

    return damage


def no_checksum(folder: Path) -> None:
    rewrite(folder, files={})


def another_key(folder: Path) -> None:
    rewrite(folder, pickle="yes")


def spec_is(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, spec={**SPEC.to_json(), **changes})


DAMAGES = [
    pytest.param(flip_a_bit, "must match the manifest's .*sha256.*, got .*sha256", id="one bit of the weights"),
    pytest.param(cut_the_weights, "must match the manifest's .*, got .*size", id="weights cut short"),
    pytest.param(
        cut_the_weights_and_forge_the_checksum, "do not match its specification", id="cut short, checksum forged"
    ),
    pytest.param(remove_the_weights, f"{WEIGHTS} must be a regular file", id="no weights"),
    pytest.param(remove_the_manifest, f"{MODEL.manifest} must be a regular file", id="no manifest"),
    pytest.param(link(WEIGHTS), f"{WEIGHTS} must be a regular file", id="weights are a symlink"),
    pytest.param(link(MODEL.manifest), f"{MODEL.manifest} must be a regular file", id="the manifest is a symlink"),
    pytest.param(name_a_file("../outside"), r"must list the files .*, got .*'\.\./outside'", id="../"),
    pytest.param(name_a_file("ABSOLUTE"), "must list the files .*, got .*'/.*outside'", id="an absolute path"),
    pytest.param(name_a_file(".."), r"must list the files .*, got .*'\.\.'", id="a folder"),
    pytest.param(manifest_is("{"), "must be JSON", id="no JSON"),
    pytest.param(manifest_is("[" * 100_000), "must be JSON", id="JSON without end"),
    pytest.param(manifest_is("[]"), "must have the fields .*, got list", id="JSON, but no object"),
    pytest.param(manifest_is("{}"), r"must have the fields .*, got {}", id="no keys"),
    pytest.param(another_key, "must have the fields .*, got .*pickle", id="a key too many"),
    pytest.param(no_checksum, f"must list the files .*{WEIGHTS}.*, got \\[\\]", id="no checksum"),
    pytest.param(spec_is(embedding_dim=3), "do not match its specification", id="another shape"),
    pytest.param(spec_is(user=SPEC.to_json()["user"][:1]), "do not match its specification", id="fewer features"),
    pytest.param(
        spec_is(vocabulary_sizes={"user_id": 0, "item_id": 7}), "do not match its specification", id="no indices"
    ),
    pytest.param(spec_is(depth=9), "do not match its specification", id="an unknown key of the specification"),
    pytest.param(spec_is(item="none"), "do not match its specification", id="a feature that is none"),
]


@pytest.mark.parametrize(("damage", "match"), DAMAGES)
def test_a_damaged_folder_is_refused(folder: Path, damage: Callable[[Path], None], match: str) -> None:
    damage(folder)
    with pytest.raises(ModelCorrupt, match=match):
        load_model(folder, "v1")


def test_a_rewritten_but_valid_manifest_is_accepted(folder: Path) -> None:
    rewrite(folder, spec=SPEC.to_json())
    assert is_whole(folder, "v1", seed=0)


def test_another_version_is_refused(folder: Path) -> None:
    with pytest.raises(ModelCorrupt, match="must hold model version v2, got v1"):
        load_model(folder, "v2")


def test_a_corrupt_model_is_a_value_error() -> None:
    assert issubclass(ModelCorrupt, ValueError)


class Poison:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("pack", [pickle.dumps, torch.save], ids=["pickle", "torch.save"])
def test_a_pickle_instead_of_the_weights_is_refused_and_not_executed(
    folder: Path, tmp_path: Path, pack: Callable[..., Any]
) -> None:
    trace = tmp_path / "executed"
    if pack is torch.save:
        torch.save(Poison(trace), folder / WEIGHTS)
    else:
        (folder / WEIGHTS).write_bytes(pickle.dumps(Poison(trace)))
    with pytest.raises(ModelCorrupt, match="must match the manifest"):
        load_model(folder)
    rewrite(folder)
    with pytest.raises(ModelCorrupt, match="do not match its specification"):
        load_model(folder)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Poison(trace)))
    assert trace.exists()  # the pickle does have an effect
