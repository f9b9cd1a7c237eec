"""The folder of an online model: the user tower as a program, its vocabularies, and the vectors of the items.

manifest.json                  what the program's inputs are, and the publication for which it was first written
user_tower.pt2                 the program of torch.export: a tensor for each input, in their order -> the vectors
vocabulary-NAME.parquet        value, row: ascending by value
item_ids.parquet               item_id, ascending
item_vectors.npy               float32 [I, D], in the order of item_ids
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.export import ExportedProgram

from model.artifacts.array_files import array_writer, read_array
from model.artifacts.formats import ONLINE_MODEL, IndexCorrupt, OnlineModelCorrupt
from model.features import ModelSpec
from model.towers.online.ids import SortedIds, Vocabulary
from model.towers.online.inputs import Input
from model.towers.online.program import Program, load_program, save_program
from model.vocabulary import PADDING, UNKNOWN

PROGRAM, ITEM_IDS, ITEM_VECTORS = "user_tower.pt2", "item_ids.parquet", "item_vectors.npy"
VALUE, ROW, ITEM_ID = "value", "row", "item_id"


@dataclass(frozen=True)
class Contents:
    """What a folder has. vectors: float32 [I, D], of the items in `items`."""

    manifest: Mapping[str, Any]
    program: Program
    inputs: list[Input]
    vocabularies: Mapping[str, Vocabulary]
    items: SortedIds
    vectors: np.ndarray


def vocabulary_file(name: str) -> str:
    return f"vocabulary-{name}.parquet"


def write_online_model(
    folder: Path,
    program: ExportedProgram,
    spec: ModelSpec,
    publication: Mapping[str, Any],
    history: str,
    vocabularies: Mapping[str, Vocabulary],
    items: SortedIds,
    vectors: np.ndarray,
) -> None:
    """Write the folder; it is complete or absent (see `ArtifactFormat.write`).

    publication: its number, ds, model_version and candidates_version, and forgotten_users: how many users the lake
    had forgotten. history: the feature that has the user's clicks, if the tower reads them. vectors: float32 [I, D], of
    the I items.
    """
    files = {name: vocabulary_file(name) for name in vocabularies}
    fields = {
        **publication,
        "torch": torch.__version__,
        "inputs": [Input.of_feature(feature, history).to_json() for feature in spec.user],
        "history": history if any(feature.name == history for feature in spec.user) else "",
        "vocabularies": files,
        "padding": PADDING,
        "unknown": UNKNOWN,
        "interests": spec.interests,
        "dimension": spec.embedding_dim,
        "items": len(items),
    }
    writers: dict[str, Callable[[Path], object]] = {
        PROGRAM: lambda path: save_program(program, path),
        ITEM_IDS: _table_writer({ITEM_ID: items.values}),
        ITEM_VECTORS: array_writer(vectors),
    }
    for name, vocabulary in vocabularies.items():
        writers[files[name]] = _table_writer({VALUE: vocabulary.ids.values, ROW: pa.array(vocabulary.rows, pa.int32())})
    ONLINE_MODEL.write(folder, fields, writers)


def read_online_model(folder: Path) -> Contents:
    """The contents of a folder, verified. Raises OnlineModelCorrupt if a file is missing, damaged or inconsistent."""
    manifest = ONLINE_MODEL.read_manifest(folder)
    try:
        files = {str(name): str(file) for name, file in manifest["vocabularies"].items()}
        inputs = [Input.from_json(values) for values in manifest["inputs"]]
        ONLINE_MODEL.verify_files(folder, manifest, {PROGRAM, ITEM_IDS, ITEM_VECTORS, *files.values()})
        items = SortedIds(_column(pq.read_table(folder / ITEM_IDS), ITEM_ID))
        vocabularies = {name: _vocabulary(folder / file) for name, file in files.items()}
        shape = (manifest["items"], manifest["dimension"])
        vectors = read_array(folder / ITEM_VECTORS, np.float32, shape)
        if len(items) != len(vectors):
            raise ValueError(f"{ITEM_IDS} must have {len(vectors)} items, got {len(items)}")
        return Contents(manifest, load_program(folder / PROGRAM), inputs, vocabularies, items, vectors)
    except OnlineModelCorrupt:
        raise
    except (IndexCorrupt, pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
        raise OnlineModelCorrupt(f"{folder} must be an online model, got {error}") from error


def _table_writer(columns: Mapping[str, pa.Array]) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table(dict(columns)), path)


def _vocabulary(file: Path) -> Vocabulary:
    rows = pq.read_table(file)
    return Vocabulary(SortedIds(_column(rows, VALUE)), _column(rows, ROW).to_numpy())


def _column(rows: pa.Table, name: str) -> pa.Array:
    return pa.concat_arrays(rows[name].chunks) if rows[name].num_chunks else pa.array([], rows[name].type)
