"""Item and query embeddings of unit norm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.model.negatives.objectives import ITEMS, B, D


@pytest.fixture
def table() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(ITEMS, D, generator=torch.Generator().manual_seed(1)), dim=1)


@pytest.fixture
def queries() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(B, D, generator=torch.Generator().manual_seed(2)), dim=1)
