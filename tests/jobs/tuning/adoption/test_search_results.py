"""Which settings of a search can be taken over by a person, and which are tried by themselves; no Spark."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from jobs import adopt_tuning
from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.tuning.adoption.records import Overlay
from jobs.tuning.adoption.search_results import proposal, tuned_days
from jobs.tuning.folder import OVERLAY, RESULT
from tests.jobs.tuning.adoption.searches import SETTINGS, leave_search
from tests.no_session import no_session

TUNED, DAY = dt.date(2026, 1, 31), dt.date(2026, 2, 3)
GOOD = SETTINGS.format(0.123)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    (tmp_path / "lake" / "impressions" / "_delta_log").mkdir(parents=True)
    return Lake(no_session, str(tmp_path / "lake"))


def adopt(lake: Lake, *more: str) -> None:
    adopt_tuning.main(["--lake", lake.uri, "--ds", str(TUNED), *more])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training\n", "must be TOML, got a damaged file"),
        ("[variants.mns.training]\ntemperature = 0.1\n", "of the main model, .* got those of the variant mns"),
        ("[log]\nexamples_window_days = 3\n", r"keys of model, training, negatives only, got sections \['log'\]"),
        ("", r"got sections \[\]"),
        ("variants = 5\n", r"got sections \['variants'\]"),
        ("[training]\ntemperature = -1\n", "settings tuned on 2026-01-31: .*training.temperature.* not valid"),
        ("[training]\ngone = 1\n", "settings tuned on 2026-01-31: .*gone.* not valid .*: search again$"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_and_nothing_is_written(lake: Lake, text: str, said: str) -> None:
    leave_search(lake, TUNED, text)
    with pytest.raises(ValueError, match=said):
        adopt(lake)
    assert not Path(lake.path("adoptions")).exists()


def test_missing_and_changed_settings_are_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there are no settings of a search at .*: run tune_two_tower for 2026-01-31"):
        adopt(lake)
    leave_search(lake, TUNED, GOOD)
    file = Path(lake.path("tuning", str(TUNED), OVERLAY))
    file.write_text(GOOD + "epochs = 1\n", "utf-8")
    with pytest.raises(ValueError, match=r"must be as tune_two_tower wrote it \(SHA-256 .*: pass a changed file"):
        adopt(lake)
    file.with_name(RESULT).write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"result.json must be as tune_two_tower wrote it, got a damaged file"):
        adopt(lake)


def test_the_configuration_can_refuse_all_settings(lake: Lake, tmp_path: Path) -> None:
    leave_search(lake, TUNED, GOOD)
    never = tmp_path / "never.toml"
    never.write_text('[tuning]\ntake_over = "never"\n', "utf-8")
    with pytest.raises(ValueError, match='take_over must be "by_hand" or "gate" to take settings over, got "never"'):
        adopt(lake, "--config", str(never))


def test_only_settings_that_were_taken_over_can_be_taken_back(lake: Lake) -> None:
    leave_search(lake, TUNED, GOOD)
    with pytest.raises(ValueError, match=r"were taken over \(there are none\), got 2026-01-31"):
        adopt(lake, "--withdraw")


def test_the_newest_search_is_proposed_if_it_is_better_than_the_settings_in_force(lake: Lake) -> None:
    assert proposal(lake, [], DAY, None).reason == ""
    old = leave_search(lake, TUNED - dt.timedelta(days=7), SETTINGS.format(0.3))
    overlay = leave_search(lake, TUNED, GOOD)
    assert proposal(lake, [], DAY, None).overlay == overlay
    assert proposal(lake, [], TUNED, None).overlay == old  # a search of the day itself, or of later ones, is not read
    assert proposal(lake, [], DAY, overlay).overlay is None
    # the search compared with recall.toml, and other settings are in force
    found = proposal(lake, [], DAY, old)
    assert found.overlay is None
    assert "compared with other settings than those in force" in found.reason
    leave_search(lake, TUNED, GOOD, compared_with=load_config(old.for_config))
    assert proposal(lake, [], DAY, old).overlay == overlay


def test_a_search_that_is_not_better_or_not_whole_is_not_proposed(lake: Lake, tmp_path: Path) -> None:
    leave_search(lake, TUNED, GOOD, is_clear=False)
    assert "beyond the noise of seeds" in proposal(lake, [], DAY, None).reason
    leave_search(lake, TUNED, GOOD)
    Path(lake.path("tuning", str(TUNED), OVERLAY)).write_text("", "utf-8")
    found = proposal(lake, [], DAY, None)
    assert found.overlay is None
    assert "must be as tune_two_tower wrote it" in found.reason
    warm = tmp_path / "warm.toml"
    warm.write_text('[training]\nstart = "warm"\n', "utf-8")
    leave_search(lake, TUNED, GOOD, compared_with=load_config(warm))
    assert 'training.start is "warm"' in proposal(lake, [str(warm)], DAY, None).reason


def test_folders_that_are_no_days_are_no_searches(lake: Lake) -> None:
    overlay = leave_search(lake, TUNED, GOOD)
    for name in (f"{TUNED}.bak", "20260201", "mine"):
        folder = Path(lake.path("tuning", name))
        folder.mkdir()
        (folder / RESULT).write_text("{}", "utf-8")
    assert tuned_days(lake) == [TUNED]
    assert proposal(lake, [], DAY, None).overlay == overlay


def test_keys_that_trials_have_in_common_do_not_make_other_settings(lake: Lake, tmp_path: Path) -> None:
    machine = tmp_path / "machine.toml"
    machine.write_text("[training]\nthreads = 1\nseed = 9\n", "utf-8")
    overlay = leave_search(lake, TUNED, GOOD, compared_with=load_config(machine))
    assert proposal(lake, [], DAY, None).overlay == overlay


def test_the_hash_is_of_the_text() -> None:
    assert Overlay(TUNED, GOOD).hash != Overlay(TUNED, GOOD + "\n").hash
