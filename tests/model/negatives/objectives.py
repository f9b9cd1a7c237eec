"""An objective over twelve items with known probabilities, and its loss by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from model.frequency import StreamingFrequency
from model.losses import Columns, sampled_softmax_loss
from model.negatives.objective import Objective
from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities

ITEMS, D, B = 12, 4, 5
Q = torch.tensor([0, 0, 0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
U = torch.cat([torch.zeros(2), torch.full((10,), 0.1)]).double()
P = torch.tensor([0.0] * 8 + [0.5, 0.25, 0.25, 0], dtype=torch.float64)
POSITIVES = torch.tensor([2, 3, 2, 4, 5])


def objective(
    probabilities: Probabilities | None = None,
    *,
    estimator: StreamingFrequency | None = None,
    learn_temperature: bool = False,
    **negatives: object,
) -> Objective:
    settings = Negatives(**{"correction": "logq_negatives", **negatives})  # type: ignore[arg-type]
    given = probabilities or Probabilities(Q, U, P)
    return Objective(
        given,
        settings,
        temperature=0.5,
        batch_size=B,
        dim=D,
        seed=7,
        estimator=estimator,
        learn_temperature=learn_temperature,
    )


def by_hand(queries: Tensor, table: Tensor, ids: Tensor, n: Tensor, correction: str = "logq_negatives") -> Tensor:
    columns = Columns(table[ids], ids, n[ids].log().float())
    counts = n[POSITIVES].log().float()
    return sampled_softmax_loss(
        queries,
        table[POSITIVES],
        POSITIVES,
        columns,
        temperature=0.5,
        correction=correction,
        positive_log_expected_count=counts,
    )


USERS = torch.tensor([7, 8, 9, 8, 7])  # two users have two rows
