"""A search on a simulated day: it finds the better settings, goes on after an interruption, and changes no table."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from jobs import tune_two_tower
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.tune_two_tower import require_held_out_day
from jobs.tuning.adoption.search_results import configuration_hash, read_overlay, read_result
from tests.conftest import DAYS, SMALL
from tests.no_session import no_session

THIRD = DAYS[2]
OVERLAY = """
[training]
validation = "last_day"
temperature = 3.0                # so high that any other value is better
patience = 2

[tuning]
max_epochs = 3

[tuning.space]
"training.temperature" = [3.0, 0.15]
"training.learning_rate" = []
"training.dense_learning_rate" = []
"training.batch_size" = []
"training.preset" = ["in_batch", "mns"]
"training.embedding_weight_decay" = []
"model.user_encoder" = []
"model.user_id_dropout" = []
"model.item_id_dropout" = []
"model.history_dropout" = []
"model.item_id_shrinkage" = []
"negatives.mask" = []
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    file = tmp_path / "tuning.toml"
    file.write_text(OVERLAY, "utf-8")
    return file


def arguments(lake: Lake, overlay: Path, *more: str) -> list[str]:
    return ["--lake", lake.uri, "--ds", str(THIRD), "--config", SMALL, "--config", str(overlay), *more]


def test_a_search_finds_the_better_setting_and_goes_on_after_an_end(
    simulated_copy: Lake, overlay: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {table.name: simulated_copy.version(table) for table in (tables.MODEL_VERSIONS, tables.PUBLICATIONS)}
    assert tune_two_tower.main(arguments(simulated_copy, overlay, "--trials", "2", "--seeds", "2")) == 2
    first = capsys.readouterr().out
    assert tune_two_tower.main(arguments(simulated_copy, overlay, "--trials", "5", "--seeds", "2")) == 5
    second = capsys.readouterr().out
    assert ["trial 0" in text for text in (first, second)] == [True, False]
    assert "trial 4" in second
    assert "a new search" in first
    assert "continues a search of 2 trials" in second
    assert "as trial" in first + second  # five trials of four settings: one is not trained again

    folder = Path(simulated_copy.path("tuning", str(THIRD)).removeprefix("file://"))
    found = tomllib.loads((folder / "overlay.toml").read_text("utf-8"))
    assert found["training"]["temperature"] == 0.15
    assert 1 <= found["training"]["epochs"] <= 3
    assert load_config(SMALL, overlay, folder / "overlay.toml").training.temperature == 0.15
    page = (folder / "index.html").read_text("utf-8")
    for expected in (
        "Search for settings of 2026",
        "training.temperature",
        "0.15",
        "the noise of seeds",
        "5 trials",
        "Fewer than 20",
        "Next: ",
    ):
        assert expected in page
    result = read_result(simulated_copy, THIRD)
    assert result is not None
    assert result.overlay_hash == read_overlay(simulated_copy, THIRD).hash
    assert result.compared_with == configuration_hash(load_config(SMALL, overlay))
    assert before == {
        table.name: simulated_copy.version(table) for table in (tables.MODEL_VERSIONS, tables.PUBLICATIONS)
    }


def test_without_a_held_out_day_nothing_is_searched(simulated_copy: Lake, overlay: Path, tmp_path: Path) -> None:
    none = tmp_path / "none.toml"
    none.write_text('[training]\nvalidation = "none"\n', "utf-8")
    with pytest.raises(ValueError, match=r'got training\.validation = "none"'):
        tune_two_tower.main(arguments(simulated_copy, overlay, "--config", str(none)))
    assert not Path(simulated_copy.path("tuning", str(THIRD)).removeprefix("file://")).exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ('[training]\nvalidation = "none"', r'got training\.validation = "none": set it to "last_day"'),
        ("[log]\nexamples_window_days = 1", r"got log\.examples_window_days = 1: set it to at least 2"),
        ("", r"none of the 29 days before it has training examples: build them in order \(run-day --ds FIRST"),
    ],
)
def test_what_is_missing_for_a_held_out_day_is_said(settings: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(settings, "utf-8")
    with pytest.raises(ValueError, match=reason):
        require_held_out_day(Lake(no_session, str(tmp_path)), load_config(file), THIRD)


def test_if_no_trial_succeeds_the_reason_is_said(simulated_copy: Lake, overlay: Path, tmp_path: Path) -> None:
    impossible = tmp_path / "impossible.toml"
    impossible.write_text('[negatives]\nbank = 1\n[tuning.space]\n"training.preset" = ["cbns"]\n', "utf-8")
    with pytest.raises(ValueError, match=r"no trial has succeeded.*negatives\.bank must be at least"):
        tune_two_tower.main(arguments(simulated_copy, overlay, "--config", str(impossible), "--trials", "2"))
