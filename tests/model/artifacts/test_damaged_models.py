"""A model folder is refused once it was changed, and nothing in it is executed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.formats import MODEL, ModelCorrupt
from model.artifacts.model_version import WEIGHTS, load_model
from tests.model.artifacts.small_models import SPEC, is_whole


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
