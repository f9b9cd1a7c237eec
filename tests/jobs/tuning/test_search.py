"""What makes two searches the same: only then are the trials of one those of the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.config.loading import Config, load_config
from jobs.tuning import search
from jobs.tuning.search import EPOCHS, SEARCHED, SETTINGS, Base, ended, open_study


def base(config: Config, spec: str = "one", *, pool_is_empty: bool = False) -> Base:
    day: Any = SimpleNamespace(identity=spec)  # of a TrainingSpec: inputs and the configuration that trains
    return Base(day, config, pool_is_empty)


@pytest.fixture
def variants(tmp_path: Path) -> Config:
    file = tmp_path / "variants.toml"
    file.write_text("[variants.other.training]\ntemperature = 0.3\n", "utf-8")
    return load_config(file)


def test_searches_differ_where_what_they_measure_can_differ(
    variants: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config()
    metric = config.model_copy(update={"tuning": config.tuning.model_copy(update={"metric": "recall@10"})})
    space = config.model_copy(update={"tuning": config.tuning.model_copy(update={"space": {"training.epochs": [1]}})})
    others = [
        base(config, "of other inputs"),
        base(config, pool_is_empty=True),
        *map(base, (metric, space, variants)),
    ]
    names = [each.study_name for each in (base(config), *others)]
    monkeypatch.setattr(search, "__version__", "another")
    names.append(base(config).study_name)
    assert len(set(names)) == len(names) == 7


def test_searches_are_the_same_where_nothing_that_is_measured_differs() -> None:
    config = load_config()
    gate = config.model_copy(update={"gate": config.gate.model_copy(update={"min_coverage": 0.5})})
    assert base(config).study_name == base(load_config()).study_name == base(gate).study_name


def test_trials_of_another_search_in_the_same_file_are_not_among_those_of_this_one(tmp_path: Path) -> None:
    file, first = tmp_path / "study.log", base(load_config())
    study = open_study(first, file)
    trial = study.ask()
    for name, value in ((SETTINGS, {}), (SEARCHED, [0.5]), (EPOCHS, 1)):
        trial.set_user_attr(name, value)
    study.tell(trial, 0.5)
    assert ended(open_study(replace(first, pool_is_empty=True), file)) == []
    assert [each.value for each in ended(open_study(first, file))] == [0.5]
