"""Results of a GPU compared with the CPU (`make test-gpu`). Axes: B rows, C columns, D embedding size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from model.artifacts.model_version import load_model
from model.losses import Columns, sampled_softmax_loss
from model.training.fit import fit
from model.training.optimizers import RowWiseAdagrad
from model.training.spec import TrainingSpec
from tests.model.small_world import World, changed, learner_of, recall, recall_of_popularity, training_spec, vectors
from tests.model.training.test_ranks import SCHEMES, batches

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
B, C, D = 512, 4_096, 64


def loss_and_gradients(device: torch.device, dtype: torch.dtype, chunk_size: int | None) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    rows = [normalize(torch.randn(n, D, generator=random), dim=1) for n in (B, C)]
    query, items = (part.to(device, dtype).requires_grad_() for part in rows)
    ids, log_n = torch.randint(500, (C,), generator=random), torch.rand(C, generator=random)
    columns = Columns(items, ids.to(device), log_n.to(device))
    loss = sampled_softmax_loss(query, items[:B], ids[:B].to(device), columns, temperature=0.1, chunk_size=chunk_size)
    loss.backward()
    return [value.float().cpu() for value in (loss.detach(), query.grad, items.grad)]  # type: ignore[union-attr]


@pytest.mark.parametrize("chunk_size", [None, 100, C])
def test_the_loss_is_that_of_the_cpu(chunk_size: int | None) -> None:
    want = loss_and_gradients(CPU, torch.float32, None)
    assert want[1].abs().max() > 1e-4
    for found, value in zip(loss_and_gradients(CUDA, torch.float32, chunk_size), want, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-6)


def test_the_loss_of_half_precision_is_near() -> None:
    want = loss_and_gradients(CPU, torch.float32, None)
    for found, value in zip(loss_and_gradients(CUDA, torch.bfloat16, None), want, strict=True):
        torch.testing.assert_close(found, value, rtol=0.05, atol=1e-4)


def test_rows_are_updated_as_on_the_cpu() -> None:
    found = []
    for device in (CPU, CUDA):
        torch.manual_seed(0)
        table = torch.nn.EmbeddingBag(1_000, D, sparse=True, mode="sum").to(device)
        optimizer = RowWiseAdagrad(table.parameters(), lr=0.1)
        ids = torch.randint(1_000, (256, 3), generator=torch.Generator().manual_seed(1)).to(device)
        for _ in range(3):
            table(ids).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        found.append(table.get_parameter("weight").detach().cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("compiled", [False, True])
def test_steps_are_those_of_the_cpu(values: dict[str, Any], scheme: str, compiled: bool) -> None:
    losses = []
    for device in (CPU, CUDA):
        settings = {"user_id_dropout": 0.0, "item_id_dropout": 0.0, "compile": compiled and device == CUDA}
        spec = TrainingSpec.from_json(changed(values, negatives=SCHEMES[scheme], **settings))
        learner = learner_of(spec, device)
        taken = []
        for batch in batches(World()):
            loss = learner.loss(batch)
            taken.append(float(loss.detach()))
            loss.backward()
            for optimizer in learner.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        losses.append(taken)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_that_learnt_on_a_gpu_finds_the_clusters(values: dict[str, Any], world: World, precision: str) -> None:
    fit(training_spec(values, device="cuda", precision=precision))
    users, items = vectors(load_model(Path(values["run"]["folder"]), "v1")[0], world)
    assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.3
