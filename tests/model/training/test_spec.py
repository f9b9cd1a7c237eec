"""A training spec as JSON, and the identity of what it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from model.data.pinned_files import PinnedFiles
from model.training.spec import TrainingSpec
from tests.model.small_world import ITEMS, SPEC, training_spec


def test_a_spec_is_the_same_after_json(values: dict[str, Any]) -> None:
    made = training_spec(values)
    assert (made.run.model, made.run.folder) == (SPEC, Path(values["run"]["folder"]))
    assert made.data.items == PinnedFiles(0, tuple(values["data"]["items"]["files"]), ITEMS)
    assert replace(made.run, epochs=7) == training_spec(values, epochs=7).run
    assert TrainingSpec.from_json(made.to_json()) == made


def test_the_identity_depends_on_what_is_trained_and_not_on_where_it_is_written(values: dict[str, Any]) -> None:
    spec = training_spec(values)
    assert TrainingSpec.from_json(spec.to_json()).identity == spec.identity
    assert spec.in_folders(Path("elsewhere"), Path("other")).identity == spec.identity
    for changes in ({"learning_rate": 0.05}, {"temperature": 0.3}, {"batch_size": 64}, {"numeric_stats": {}}):
        assert training_spec(values, **changes).identity != spec.identity, changes
