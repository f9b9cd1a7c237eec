"""The space of a search: what is drawn, what counts as today's setting, and how it becomes a configuration."""

from __future__ import annotations

import math
import tomllib
from datetime import date
from pathlib import Path

import optuna
import pytest

from jobs.config.loading import Config, load_config
from jobs.tuning.overlay import overlay_text
from jobs.tuning.space import configured, current, drawn, overlay, searched

SPACE = """
[tuning.space]
"training.temperature" = { low = 0.1, high = 0.4, log = true }
"negatives.corpus" = { low = 10, high = 20 }
"training.preset" = ["in_batch", "mns"]
"negatives.mask" = []
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, SPACE)


def loaded(folder: Path, text: str) -> Config:
    file = folder / "overlay.toml"
    file.write_text(text, "utf-8")
    return load_config(file)


def test_each_key_of_the_space_is_drawn_within_its_values(config: Config) -> None:
    trials = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask() for _ in range(5)]
    for trial in trials:
        found = drawn(trial, config.tuning.searched)
        assert "negatives.mask" not in found
        assert 0.1 <= found["training.temperature"] <= 0.4
        assert isinstance(found["negatives.corpus"], int)
        assert 10 <= found["negatives.corpus"] <= 20
        assert found["training.preset"] in ("in_batch", "mns")
        assert set(found) == set(config.tuning.searched)


def test_todays_settings_are_those_of_the_configuration_that_the_space_contains(config: Config) -> None:
    found = current(config)
    assert found["training.temperature"] == config.training.temperature
    assert found["training.preset"] == "in_batch"
    assert "negatives.corpus" not in found  # 1024 is beyond 10 to 20
    assert "negatives.mask" not in found


def test_settings_become_a_configuration_that_an_overlay_repeats(config: Config, tmp_path: Path) -> None:
    settings = {"training.temperature": 0.123, "training.preset": "mns", "negatives.corpus": 12}
    changed = configured(config, settings, pool_is_empty=False)
    assert (changed.training.temperature, changed.training.preset, changed.negatives.corpus) == (0.123, "mns", 12)
    text = overlay_text(overlay(settings, pool_is_empty=False), date(2026, 1, 31), "better")
    assert tomllib.loads(text)["training"] == {"temperature": 0.123, "preset": "mns"}
    assert loaded(tmp_path, SPACE + text).model_dump() == changed.model_dump()


def test_the_settings_of_a_variant_are_an_overlay_of_the_variant(tmp_path: Path) -> None:
    sections = overlay({"training.temperature": 0.123}, pool_is_empty=False)
    found = loaded(tmp_path, overlay_text(sections, date(2026, 1, 31), "better", "uncorrected"))
    assert found.with_variant("uncorrected").training.temperature == 0.123
    assert found.training.temperature == load_config().training.temperature
    assert found.with_variant("uncorrected").training.correction == "none"


def test_settings_that_contradict_each_other_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"^training\.temperature: [^\n]*$"):
        configured(load_config(), {"training.temperature": -1.0}, pool_is_empty=False)


def test_an_empty_space_is_refused(tmp_path: Path) -> None:
    keys = "\n".join(f'"{key}" = []' for key in load_config().tuning.space)
    with pytest.raises(ValueError, match=r"tuning\.space must have a key with values"):
        _ = loaded(tmp_path, f"[tuning.space]\n{keys}\n").tuning.searched


def test_only_keys_that_change_something_are_searched(tmp_path: Path) -> None:
    assert "model.user_id_dropout" not in searched(load_config())  # users have no id
    assert searched(load_config("movielens"))["model.user_id_dropout"] == [0.0, 0.1, 0.3, 0.6, 0.9]
    assert searched(load_config())["model.user_encoder"] == ["mean", "recency", "attention"]
    several = loaded(tmp_path, '[model]\nuser_encoder = "attention"\ninterests = 2\n')
    assert searched(several)["model.user_encoder"] == ["attention"]  # the others make one vector
    others = "\n".join(f'"{key}" = []' for key in load_config().tuning.space if key != "model.user_id_dropout")
    with pytest.raises(ValueError, match=r"must have a key that changes the model, got model\.user_id_dropout"):
        searched(loaded(tmp_path, f"[tuning.space]\n{others}\n"))


def test_a_chosen_preset_does_not_stop_days_without_a_pool() -> None:
    assert overlay({"training.preset": "mns"}, pool_is_empty=True)["negatives"] == {"empty_pool": "skip"}
    assert "negatives" not in overlay({"training.preset": "mns"}, pool_is_empty=False)
    assert "negatives" not in overlay({"training.temperature": 0.1}, pool_is_empty=True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"training.temprature" = [0.1]', "training.temprature"),
        ('"scoring.popular_quota" = [0, 10]', "scoring.popular_quota"),
        ('"training.seed" = [1, 2]', "got 'training.seed', which they have in common"),
        ('"model.id_expiry_share" = [0.1]', "got 'model.id_expiry_share'"),
        ('"training.temperature" = { low = 0.3, high = 0.1 }', "low must be below high, got 0.3 and 0.1"),
        ('"training.temperature" = { low = 0, high = 1, log = true }', "low must be above 0 where log is true, got 0"),
    ],
)
def test_a_wrong_space_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        loaded(tmp_path, f"[tuning.space]\n{line}\n")


def test_drawn_numbers_are_readable() -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    values = drawn(trial, searched(load_config()))
    for value in values.values():
        if isinstance(value, float) and value:
            assert math.isclose(value, float(f"{value:.3g}"))
