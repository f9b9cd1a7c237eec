"""A day on trial, run whole: it trains and scores with the settings of a search, and the next day keeps them or not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from jobs import choose_settings, report_run, run_day
from jobs.config.loading import load_config
from jobs.inference.references import model_row, required_manifest
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from jobs.tuning.adoption.records import adoptions, decided
from tests.conftest import DAYS, SMALL
from tests.jobs.tuning.adoption.searches import SETTINGS, leave_search

THIRD, FOURTH = DAYS[2:]
FIFTH = FOURTH + dt.timedelta(days=1)
FAILS = "[gate]\nmax_head_share = 0.0\n"


@pytest.mark.slow
@pytest.mark.parametrize(("gate", "state"), [("", "adopted"), (FAILS, "configured")])
def test_a_trial_is_adopted_if_its_day_is_published_and_not_if_its_gate_fails(
    simulated_copy: Lake, tmp_path: Path, gate: str, state: str
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(f'[tuning]\ntake_over = "gate"\n{gate}', "utf-8")
    today = load_config(SMALL, file)
    leave_search(simulated_copy, THIRD, SETTINGS.format(0.2) + "epochs = 1\n", compared_with=today)
    common = ["--lake", simulated_copy.uri, "--config", SMALL, "--config", str(file), "--ds"]
    if gate:
        with pytest.raises(DayStopped, match="head_share"):
            run_day.main([*common, str(FOURTH)])
    else:
        run_day.main([*common, str(FOURTH)])
    manifest = required_manifest(simulated_copy, model_row(simulated_copy, FOURTH).model_version)
    training = manifest["configuration"]["training"]
    assert (training["temperature"], training["epochs"]) == (0.2, 1)
    assert choose_settings.main([*common, str(FIFTH)]) == 1
    days = decided(adoptions(simulated_copy))
    assert [days[day].state for day in (FOURTH, FIFTH)] == ["trial", state]
    assert report_run.main([*common, str(FOURTH)])
    page = Path(simulated_copy.path("reports", str(FOURTH), "index.html")).read_text("utf-8")
    assert f"tuned on {THIRD}, on trial (the search of {THIRD} found better settings" in page
