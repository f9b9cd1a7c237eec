"""The exported user tower: every encoder, what is refused, and files that would be unpickled."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model.artifacts.formats import OnlineModelCorrupt
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.towers.online.program import (
    check_program,
    exported_user_tower,
    load_program,
    random_inputs,
    save_program,
)
from model.towers.user_encoders import UserEncoder
from model.vocabulary import PADDING
from tests.model.towers.online.small_online import small_towers

OWN = "tests.extensions.my_encoder:AttentionPooling"


class DependsOnValues(UserEncoder):
    """Encodes lists with a shape that depends on values, which no exported program has."""

    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        longest = int((indices != PADDING).sum(dim=1).max())
        return nn.functional.embedding(indices[:, :longest], table.weight, sparse=True).mean(dim=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "user_tower.pt2"
    save_program(exported_user_tower(small_towers()), path)
    return path


@pytest.mark.parametrize(
    ("encoder", "interests", "hashed", "gaps"),
    [
        *((name, 1, False, False) for name in sorted(USER_ENCODERS.built_in)),
        ("recency", 1, False, True),
        ("attention", 3, False, True),
        (OWN, 1, True, True),
    ],
)
def test_a_saved_program_is_the_tower_for_every_number_of_users(
    tmp_path: Path, encoder: str, interests: int, hashed: bool, gaps: bool
) -> None:
    towers = small_towers(encoder, interests, hashed=hashed, gaps=gaps)
    save_program(exported_user_tower(towers), tmp_path / "program.pt2")
    program, inputs = load_program(tmp_path / "program.pt2"), random_inputs(towers, 30)
    assert any(bool(values.isnan().any()) for values in inputs if values.is_floating_point())
    with torch.no_grad():
        want = towers.user(dict(zip([f.name for f in towers.spec.user], inputs, strict=True)))
        for count in (30, 7, 1):
            found = program(*[values[:count] for values in inputs])
            torch.testing.assert_close(found, want[:count], rtol=0.0, atol=1e-6)


def test_a_tower_that_cannot_be_exported_is_named() -> None:
    towers = small_towers(f"{DependsOnValues.__module__}:DependsOnValues")
    with pytest.raises(ValueError, match=r"the user tower must be one that torch.export can export, got"):
        exported_user_tower(towers)


def test_a_program_with_other_vectors_is_refused() -> None:
    towers = small_towers()
    program = exported_user_tower(towers).module()
    check_program(program, towers)

    def nearly(*values: Tensor) -> Tensor:
        found: Tensor = program(*values)
        return found + 2e-5

    for wrong in (nearly, lambda *values: program(*values) * torch.nan):
        with pytest.raises(ValueError, match="must differ by at most 1e-05, got"):
            check_program(wrong, towers)


def test_a_file_that_is_no_program_is_refused(saved: Path, tmp_path: Path) -> None:
    for content in (b"", b"PK", saved.read_bytes()[:-900]):
        (tmp_path / "x.pt2").write_bytes(content)
        with pytest.raises(OnlineModelCorrupt, match=r"x.pt2 must be a program of torch.export, got"):
            load_program(tmp_path / "x.pt2")


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def replaced(part: str, name: str, content: bytes, attack: bytes) -> tuple[str, bytes]:
    """The name and the content that a hostile file has instead of an entry."""
    config = json.loads(content) if name.endswith("model_weights_config.json") else {"config": {}}
    for payload in config["config"].values():
        payload["use_pickle"] = True
    if part in ("sample_inputs", "other case") and "sample_inputs" in name:
        return name.replace("sample", "Sample") if part == "other case" else name, attack
    if part in ("weight", "twice") and "/data/weights/weight_" in name:
        return name, attack
    return name, json.dumps(config).encode() if part in ("weight", "twice") and config["config"] else content


def hostile(saved: Path, file: Path, part: str, attack: bytes) -> None:
    """Write the program again, with one part that torch.export.load would unpickle."""
    with zipfile.ZipFile(saved) as whole, zipfile.ZipFile(file, "w") as copy:
        for name in whole.namelist():
            copy.writestr(*replaced(part, name, whole.read(name), attack))
        if part == "twice":  # torch reads the first one, zipfile the last
            name = next(name for name in whole.namelist() if name.endswith("model_weights_config.json"))
            copy.writestr(name, whole.read(name))


def old_format(file: Path, attack: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("version", "8.8")
        for name in ("exported_program.json", "state_dict.pt", "constants.pt", "example_inputs.pt"):
            archive.writestr(f"serialized_{name}", attack)


def two_directories(saved: Path, file: Path, attack: bytes) -> None:
    """A hostile file before a harmless one, with directories at the same offset: torch reads the first one."""
    harmless = io.BytesIO()
    with zipfile.ZipFile(saved) as whole, zipfile.ZipFile(harmless, "w") as copy:
        for name in whole.namelist():
            copy.writestr(name, whole.read(name) + (b" " * len(attack) if name.endswith("serialization_id") else b""))
    hostile(saved, file, "sample_inputs", attack)
    file.write_bytes(file.read_bytes()[:-22] + harmless.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("part", ["sample_inputs", "other case", "weight", "twice", "two directories", "old format"])
def test_nothing_is_ever_unpickled(saved: Path, tmp_path: Path, part: str) -> None:
    file, touched, attack = tmp_path / "user_tower.pt2", tmp_path / "touched", io.BytesIO()
    torch.save(Attack(touched), attack)
    if part == "old format":
        old_format(file, attack.getvalue())
    elif part == "two directories":
        two_directories(saved, file, attack.getvalue())
    else:
        hostile(saved, file, part, attack.getvalue())
    with pytest.raises(OnlineModelCorrupt, match="must have no pickled part"):
        load_program(file)
    assert not touched.exists()
    if part in ("sample_inputs", "other case", "two directories"):  # files that torch itself would unpickle
        with suppress(Exception):
            torch.export.load(file)
        assert touched.exists()


def test_the_attribute_of_the_towers_stays(saved: Path) -> None:
    """Exporting changes nothing of the towers: they still train."""
    towers: TwoTowers = small_towers()
    before = towers.user(dict(zip([f.name for f in towers.spec.user], random_inputs(towers, 5), strict=True)))
    exported_user_tower(towers)
    after = towers.user(dict(zip([f.name for f in towers.spec.user], random_inputs(towers, 5), strict=True)))
    assert torch.equal(before, after)
    after.sum().backward()
    assert all(weights.requires_grad for weights in towers.parameters())
