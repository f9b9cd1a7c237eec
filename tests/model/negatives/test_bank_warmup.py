"""When the bank is used, and the drift and age of its columns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from model.bank import CrossBatchBank
from model.negatives.bank_warmup import MEASURED_EVERY, BankWarmup

ITEMS, D = 40, 8
TABLE = normalize(torch.randn(ITEMS, D, generator=torch.Generator().manual_seed(1)), dim=1)


def bank_of(table: Tensor, step: int = 1) -> CrossBatchBank:
    bank = CrossBatchBank(ITEMS, D)
    bank.push(table, torch.arange(ITEMS), step)
    return bank


def now(ids: Tensor) -> Tensor:
    return TABLE[ids]


def test_an_empty_bank_is_never_warm() -> None:
    assert not BankWarmup(0, 0.0, seed=1).is_warm(CrossBatchBank(4, D), 100, now)


@pytest.mark.parametrize(("steps", "warm"), [(0, False), (4, False), (5, True), (6, True)])
def test_it_is_warm_after_so_many_steps(steps: int, warm: bool) -> None:
    assert BankWarmup(5, 0.0, seed=1).is_warm(bank_of(-TABLE), steps, now) == warm


def test_it_is_warm_before_that_if_its_vectors_have_not_drifted() -> None:
    warmup = BankWarmup(10_000, 0.1, seed=1)
    assert not warmup.is_warm(bank_of(-TABLE), MEASURED_EVERY, now)  # opposite vectors: drift 2
    assert warmup.drift == pytest.approx(2)
    still = bank_of(TABLE)
    assert not warmup.is_warm(still, MEASURED_EVERY + 1, now)  # not measured at this step
    assert warmup.is_warm(still, 2 * MEASURED_EVERY, now)
    assert warmup.is_warm(bank_of(-TABLE), 3 * MEASURED_EVERY, now)  # once warm, warm for good
    assert warmup.report() == {
        "bank_drift": 2.0,
        "bank_age": 3.0 * MEASURED_EVERY - 1,
        "bank_warm_at": 2 * MEASURED_EVERY,
    }


def test_a_few_vectors_of_dropped_ids_do_not_decide() -> None:
    some = TABLE.clone()
    some[: ITEMS // 5] *= -1
    warmup = BankWarmup(10_000, 0.05, seed=1)
    assert warmup.is_warm(bank_of(some), MEASURED_EVERY, now)


def test_drift_and_age_by_hand() -> None:
    half = TABLE.clone().roll(1, dims=1)
    want = float((1 - (half * TABLE).sum(dim=1)).median())
    warmup = BankWarmup(10_000, 0.0, seed=1)
    warmup.is_warm(bank_of(half, step=7), MEASURED_EVERY, now)
    assert warmup.drift == pytest.approx(want)
    assert warmup.age == MEASURED_EVERY - 7


def test_what_was_not_measured_is_none() -> None:
    assert BankWarmup(5, 0.0, seed=1).report() == {"bank_drift": None, "bank_age": None, "bank_warm_at": None}


def test_measuring_takes_no_gradient() -> None:
    asked = []

    def embed(ids: Tensor) -> Tensor:
        asked.append(torch.is_grad_enabled())
        return TABLE[ids]

    BankWarmup(5, 0.0, seed=1).is_warm(bank_of(TABLE), MEASURED_EVERY, embed)
    assert asked == [False]


def test_it_resumes_from_its_state() -> None:
    warmup, resumed = BankWarmup(10_000, 0.1, seed=1), BankWarmup(10_000, 0.1, seed=2)
    warmup.is_warm(bank_of(TABLE), MEASURED_EVERY, now)
    resumed.load_state_dict(warmup.state_dict())
    assert resumed.report() == warmup.report()
    assert torch.equal(resumed.generator.get_state(), warmup.generator.get_state())


@pytest.mark.parametrize(("steps", "drift"), [(-1, 0.0), (0, -0.1), (0, 2.5), (0, float("nan"))])
def test_wrong_settings_are_refused(steps: int, drift: float) -> None:
    with pytest.raises(ValueError, match="bank_warmup_steps must be 0 or more and bank_warmup_drift in"):
        BankWarmup(steps, drift, seed=1)
