"""Two processes that gather their columns equal one process with the joined batch.

Axes: B rows of all processes together, D embedding size.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.gather import gather_rows
from model.losses import Columns, sampled_softmax_loss
from model.negatives import expected_count, log_count

PROCESSES, ROWS, DIM = 2, 6, 4


def towers() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"user": nn.Linear(DIM, DIM), "item": nn.Linear(DIM, DIM)}).double()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Users [B, D], items [B, D] and item ids [B] with accidental hits within and across the processes."""
    generator = torch.Generator().manual_seed(1)
    users, items = (torch.randn(ROWS, DIM, generator=generator).double() for _ in range(2))
    return users, items, torch.tensor([0, 1, 1, 2, 0, 3])


def loss_of(model: nn.ModuleDict, users: Tensor, items: Tensor, ids: Tensor, gather: bool) -> Tensor:
    embeddings, column_ids = model["item"](items), ids  # [B, D], [B]
    columns = (gather_rows(embeddings), gather_rows(ids)) if gather else (embeddings, column_ids)
    q = torch.tensor([0.4, 0.3, 0.2, 0.1])
    log_n = log_count(expected_count(columns[1], [(ROWS - 1, q)]))  # the global batch counts
    return sampled_softmax_loss(model["user"](users), embeddings, ids, Columns(*columns, log_n), temperature=0.5)


def work(rank: int, folder: Path) -> None:
    """One process: its rows' loss and the gradients, averaged as DistributedDataParallel does."""
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=PROCESSES)
    model, mine = towers(), slice(rank * ROWS // PROCESSES, (rank + 1) * ROWS // PROCESSES)
    loss = loss_of(model, *(tensor[mine] for tensor in batch()), gather=True)
    loss.backward()
    for tensor in (loss.detach(), *(parameter.grad for parameter in model.parameters())):
        dist.all_reduce(tensor)
        tensor /= PROCESSES
    result = {"loss": loss.detach(), "gradients": [parameter.grad for parameter in model.parameters()]}
    try:
        gather_rows(torch.zeros(rank + 1, DIM))
    except ValueError as error:
        result["message"] = str(error)
    torch.save(result, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gather")
    torch.multiprocessing.spawn(work, args=(folder,), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


def test_two_processes_equal_the_joined_batch(results: list[dict[str, Any]]) -> None:
    model = towers()
    loss = loss_of(model, *batch(), gather=False)
    loss.backward()
    wanted = [parameter.grad for parameter in model.parameters()]
    assert all(gradient.abs().max() > 1e-3 for gradient in wanted[:2])
    for result in results:
        torch.testing.assert_close(result["loss"], loss.detach())
        torch.testing.assert_close(result["gradients"], wanted)


def test_unequal_rows_are_refused_on_every_process(results: list[dict[str, Any]]) -> None:
    messages = [result["message"] for result in results]
    assert messages == ["every process must hold equally many rows, got [1, 2]"] * PROCESSES


def test_without_a_process_group_rows_come_back_as_they_are() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    assert gather_rows(rows) is rows
