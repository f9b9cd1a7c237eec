"""Spoiled last passes are held back, and honest ones are not, on a few of the seeds of benchmarks/quality/last_pass.py."""

from __future__ import annotations

import pytest

from benchmarks.quality.last_pass import SPOILERS, last_pass
from jobs.config.loading import load_config
from jobs.serving.gate_measurements import last_pass_of
from jobs.serving.gate_rules import last_pass_verdict
from tests.marks import slow_after

QUICK = ("honest", "shuffled clicks", "learning rates x 100")
CASES = [(name, 1) for name in QUICK] + [(name, seed) for name in SPOILERS for seed in (2, 3)]


@pytest.mark.parametrize(("name", "seed"), slow_after(len(QUICK), CASES))
def test_only_a_spoiled_last_pass_is_held_back(name: str, seed: int) -> None:
    found = last_pass(name, seed, users=1_000, items=2_000, clicks=20, epochs=2)
    assert last_pass_verdict(last_pass_of(found), load_config()).passed == (name == "honest")
