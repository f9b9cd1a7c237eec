"""The user tower as a program of torch.export: the operations and the weights, without the code of this repository.

Axes: B users, D size of a vector, Q interests of a user, V rows of an embedding table.
"""

from __future__ import annotations

import json
import math
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from model.artifacts.formats import OnlineModelCorrupt
from model.features import FeatureSpec
from model.features.gaps import GAP_INDICES
from model.towers.two_towers import Tower, TwoTowers
from model.vocabulary import PADDING

TOLERANCE = 1e-5  # between a number of the program's vectors and of the tower's
CHECKED_USERS = 256
MISSING_SHARE = 0.2  # of the values of these users

ENTRY = re.compile(  # of a file that torch.export saves, without the name of the archive before it
    r"data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)"
)

Program = Callable[..., Tensor]  # a tensor for each feature of the user tower, in their order -> [B, D] or [B, Q, D]


class _ByRows(nn.Module):
    """The user tower with a positional tensor for each feature: rows of the tables, or numbers."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, *values: Tensor) -> Tensor:
        return self.tower.of_rows({f.name: v for f, v in zip(self.tower.features, values, strict=True)})


def exported_user_tower(towers: TwoTowers) -> ExportedProgram:
    """The program for a batch of any size: what `Tower.rows_of` returns, [B] or [B, L], in the order of the features.

    Raises ValueError if torch.export refuses the tower, or the program gives other vectors than the tower.
    """
    by_rows, batch = _ByRows(towers.user).eval(), Dim("batch", min=1)
    inputs = random_inputs(towers, 2)
    shapes = {"values": tuple({0: batch} for _ in inputs)}
    try:
        with torch.no_grad():
            program = torch.export.export(by_rows, inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch raises many types, such as for a shape that depends on values
        raise ValueError(f"the user tower must be one that torch.export can export, got {error}") from error
    program.example_inputs = None  # a file would have them pickled
    check_program(program.module(), towers)
    return program


def check_program(program: Program, towers: TwoTowers) -> None:
    """Raises ValueError if the program's vectors of random users differ from the tower's by more than TOLERANCE."""
    by_rows, inputs = _ByRows(towers.user).eval(), random_inputs(towers, CHECKED_USERS)
    with torch.no_grad():
        for count in (CHECKED_USERS, 1):
            some = [values[:count] for values in inputs]
            gap = float((program(*some) - by_rows(*some)).abs().max())
            if not gap <= TOLERANCE:  # also if it is NaN
                raise ValueError(f"vectors of the exported user tower must differ by at most {TOLERANCE}, got {gap}")


def random_inputs(towers: TwoTowers, count: int) -> tuple[Tensor, ...]:
    """Values of so many users for each feature, some of them missing; the same in every call."""
    generator = torch.Generator().manual_seed(0)
    return tuple(_random(feature, towers.spec.table_sizes, count, generator) for feature in towers.spec.user)


def _random(feature: FeatureSpec, sizes: Mapping[str, int], count: int, generator: torch.Generator) -> Tensor:
    shape = (count, feature.length) if feature.is_list else (count,)
    is_missing = torch.rand(shape, generator=generator) < MISSING_SHARE
    if feature.holds_numbers:
        return torch.randn(shape, generator=generator).masked_fill(is_missing, math.nan)
    size = GAP_INDICES if feature.vocabulary is None else sizes[feature.vocabulary]
    rows = torch.randint(PADDING, size, shape, generator=generator)
    return rows.masked_fill(is_missing, PADDING) if feature.is_list else rows


def save_program(program: ExportedProgram, path: Path) -> None:
    torch.export.save(program, path)


def load_program(path: Path) -> Program:
    """The program in a file. Raises OnlineModelCorrupt if it cannot be read, or only by unpickling a part."""
    try:
        _require_no_pickle(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)  # nobody writes weights
            return torch.export.load(path).module()
    except OnlineModelCorrupt:
        raise
    except Exception as error:  # torch raises many types for a damaged program
        raise OnlineModelCorrupt(f"{path} must be a program of torch.export, got {error}") from error


def _require_no_pickle(path: Path) -> None:
    """torch.export.load unpickles files of old formats, tensors of some layouts, objects and example inputs.

    It opens old formats with zipfile, and new ones with a reader of its own, which ignores the case of names and may
    find another directory in a file that was made for it. So what either finds must be known names, each once.
    """
    with zipfile.ZipFile(path) as archive:
        _require_known(path, [name.partition("/")[2] or name for name in archive.namelist()])
    reader = torch._C.PyTorchFileReader(str(path))
    names = reader.get_all_records()
    _require_known(path, names)
    pickled = [name for name in names if name.startswith("data/sample_inputs/") and reader.get_record(name)]
    for name in names:
        if name.endswith("_config.json"):
            entries = json.loads(reader.get_record(name))["config"].items()
            pickled += [entry for entry, payload in entries if payload["use_pickle"]]
    _require_none(path, pickled)


def _require_known(path: Path, names: list[str]) -> None:
    _require_none(path, [name for name, count in Counter(names).items() if count > 1 or not ENTRY.fullmatch(name)])


def _require_none(path: Path, pickled: list[str]) -> None:
    if pickled:
        raise OnlineModelCorrupt(f"{path} must have no pickled part, got {', '.join(pickled[:3])}")
