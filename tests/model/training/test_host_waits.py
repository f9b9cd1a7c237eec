"""How often the host waits for a GPU in a step, and that a step without waiting computes the same.

A CPU stands in for the GPU: `devices.is_asynchronous` is replaced, so that the code for a GPU runs, and every operation
is counted that would make the host wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from model.data import devices
from model.losses import Columns, sampled_softmax_loss
from model.losses.column_logsumexp import column_logsumexp
from model.negatives.bank_warmup import MEASURED_EVERY
from model.training.loop import train
from model.training.optimizers import RowWiseAdagrad, summed_rows
from model.training.spec import TrainingSpec
from tests.model.small_world import SPEC, World, changed, learner_of
from tests.model.training.test_ranks import SCHEMES, batches

MOST = 2  # waits of a step: one for all expected counts, one for the loss
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive",
    "unique_dim_consecutive", "equal", "allclose", "bincount", "histc",
}  # fmt: skip
ROWS = {"negatives": {"correction": "logq_negatives", "row": 2, "mask": "history"}, "final_before": 1}
STREAMING = {
    "negatives": {"correction": "logq"}, "frequency_source": "streaming", "streaming_hashes": 2, "batch_size": 8,
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    **{name: {"negatives": settings} for name, settings in SCHEMES.items()},
    "row": ROWS,
    "streaming": STREAMING,
    "shrunk ids": {"negatives": SCHEMES["masked"], "model": {**SPEC.to_json(), "item_id_shrinkage": 2.0}},
    "recency": {"negatives": SCHEMES["masked"], "model": {**SPEC.to_json(), "user_encoder": "recency"}},
    "attention": {
        "negatives": SCHEMES["in_batch"],
        "model": {**SPEC.to_json(), "user_encoder": "attention"},
        "user_encoder_dropout": 0.2,
        "embedding_weight_decay": 1.0,
    },
    "interests": {
        "negatives": SCHEMES["in_batch"],
        "model": {**SPEC.to_json(), "user_encoder": "attention", "interests": 3},
    },
    "learned temperature": {"negatives": {"correction": "logq_negatives"}, "learn_temperature": True},
}


class Waits(TorchDispatchMode):
    """Counts the operations that read values or have a result whose shape depends on them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @contextmanager
    def nothing_counted(self) -> Iterator[None]:
        before = self.count
        yield
        self.count = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_booleans = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        repeats = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        self.count += name in WAITING or by_booleans or repeats
        return func(*args, **(kwargs or {}))


class Lists(TorchFunctionMode):
    """Counts `tolist`, which reads a CPU's memory without an operation."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits.count += func is Tensor.tolist
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Waits]:
    with ExitStack() as stack:
        waits = stack.enter_context(Waits())
        stack.enter_context(Lists(waits))
        yield waits


def waits_of_steps(values: dict[str, Any], changes: dict[str, Any]) -> tuple[list[int], list[float]]:
    """The waits and the loss of each step of the training loop, without those that happen before the first step."""
    learner = learner_of(TrainingSpec.from_json(changed(values, **changes)))
    of_rows = {"unclicked": torch.arange(3, 27).view(8, 3), "outcome_final_at": torch.zeros(8, dtype=torch.int64)}
    read = [{**batch, **(of_rows if changes is ROWS else {})} for batch in batches(World())]
    found: list[int] = []
    losses: list[float] = []
    with counted() as waits:

        def on_step(progress: Any) -> None:
            found.append(waits.count)
            losses.append(progress.loss)
            waits.count = 0

        def adam_step(step: Callable[[], None] = learner.dense.step) -> None:
            with waits.nothing_counted():  # Adam reads its own count of steps, which is in the host's memory
                step()

        learner.dense.step = adam_step  # type: ignore[method-assign]
        train(learner.loss, lambda epoch, skip: read, learner.optimizers, 1, on_step=on_step)
    return found, losses


@pytest.fixture
def asynchronous(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(devices, "is_asynchronous", lambda device: True)


@pytest.mark.parametrize("scheme", sorted(CHANGES))
def test_a_step_waits_at_most_twice(values: dict[str, Any], scheme: str, asynchronous: Callable[[], None]) -> None:
    on_a_cpu, losses = waits_of_steps(values, CHANGES[scheme])
    assert min(on_a_cpu) > MOST  # so that the counter is known to count
    asynchronous()
    found, same = waits_of_steps(values, CHANGES[scheme])
    measured = [step % MEASURED_EVERY == 0 for step in range(len(found))]  # the bank, if there is one
    assert max(count for count, is_measured in zip(found, measured, strict=True) if not is_measured) <= MOST
    assert same == pytest.approx(losses, rel=1e-5)


def test_weights_of_steps_without_waiting_are_the_same(
    values: dict[str, Any], asynchronous: Callable[[], None]
) -> None:
    def weights() -> list[Tensor]:
        learner = learner_of(TrainingSpec.from_json(changed(values, **CHANGES["mixture"])))
        train(learner.loss, lambda epoch, skip: batches(World()), learner.optimizers, 1)
        return [parameter.detach().clone() for parameter in learner.towers.parameters()]

    want = weights()
    asynchronous()
    for found, wanted in zip(weights(), want, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [1, 3, 100])
def test_fixed_shapes_mask_the_same_columns(width: int, asynchronous: Callable[[], None]) -> None:
    """Repeated ids, ids across the border of two chunks, rows that mask nothing and rows that mask everything."""
    random = torch.Generator().manual_seed(0)
    query, embeddings = torch.randn(4, 3, generator=random), torch.randn(9, 3, generator=random)
    bias, ids = torch.randn(9, generator=random), torch.tensor([5, 5, 2, 7, 5, 2, 9, 7, 7])
    masked = torch.tensor([[5, -1, 3, 5], [-1, -1, -1, -1], [2, 5, 7, 9], [9, 100, 0, -1]])
    want = column_logsumexp(query, embeddings, bias, ids, masked, width)
    asynchronous()
    found = column_logsumexp(query, embeddings, bias, ids, masked, width)
    assert want[2] == -torch.inf
    torch.testing.assert_close(found, want)


def test_summed_rows_of_a_fixed_shape_change_the_same_rows(asynchronous: Callable[[], None]) -> None:
    def table_after_steps() -> Tensor:
        table = torch.nn.Parameter(torch.arange(12.0).view(6, 2))
        optimizer = RowWiseAdagrad([table], lr=0.1, weight_decay=2.0)
        for ids in ([3, 0, 3, 5], [0, 0, 0, 0], [2, 2, 3, 3]):
            values = torch.arange(8.0).view(4, 2)
            table.grad = torch.sparse_coo_tensor(torch.tensor([ids]), values, (6, 2))
            optimizer.step()
        return table.detach()

    want = table_after_steps()
    asynchronous()
    torch.testing.assert_close(table_after_steps(), want)
    rows, sums = summed_rows(torch.sparse_coo_tensor(torch.tensor([[4, 1, 4]]), torch.eye(3), (6, 3)))
    assert rows.tolist() == [1, 4, 0]
    assert sums.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("wrong", [-torch.inf, torch.inf, torch.nan])
def test_a_count_that_is_not_finite_is_named_without_waiting_for_each(
    wrong: float, asynchronous: Callable[[], None]
) -> None:
    asynchronous()
    vectors, ids = torch.eye(3), torch.tensor([4, 5, 6])
    columns = Columns(vectors, ids, torch.tensor([0.0, wrong, 0.0]))
    with pytest.raises(ValueError, match=r"columns.log_expected_count must be finite .* at item id 5"):
        sampled_softmax_loss(vectors, vectors, ids, columns, temperature=torch.tensor(0.1))
