"""Two processes learn the same as one with the joined batch. Axis: B rows of all processes together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist

from model.training.processes.ranks import ALONE, Ranks
from model.training.spec import TrainingSpec
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import GONE, SPEC, World, changed, learner_of

RANKS = 2
ROWS = (5, 3)  # of each rank
SCHEMES: dict[str, dict[str, Any]] = {
    "in_batch": {"correction": "logq"},
    "masked": {"correction": "logq_negatives", "mask": "history"},
    "mixture": {
        "correction": "logq_negatives",
        "corpus": 7,
        "bank": 24,
        "bank_holds": "all",
        "bank_warmup_steps": 1,
        "mask": "user",
    },
}
# the pool of unclicked items, and the items that were shown beside the clicked one
WITH_UNCLICKED: dict[str, dict[str, Any]] = {
    "unclicked": {"correction": "logq_negatives", "corpus": 3, "unclicked": 8},
    "row": {"correction": "logq_negatives", "unclicked": 5, "row": 3, "row_log_weight": 0.5},
}
STEPS = 4


def batches(world: World) -> list[dict[str, torch.Tensor]]:
    """The joined batches [B] of a few steps; users and items repeat within and across the ranks."""
    columns = world.examples().to_pydict()
    names = {"user_id": "user_index", "user_index": "user_index", "history": "history", "item_index": "item_index"}
    rows, random = sum(ROWS), torch.Generator().manual_seed(5)
    return [
        {name: torch.tensor(columns[column][step * rows : (step + 1) * rows]) for name, column in names.items()}
        | {
            "age": torch.full((rows,), 30.0),
            "unclicked": torch.randint(FIRST_INDEX, GONE, (rows, 4), generator=random) * torch.tensor([1, 1, 1, 0]),
            "outcome_final_at": torch.arange(rows),
        }
        for step in range(STEPS)
    ]


def steps(values: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Losses of all steps, and the weights after them."""
    learner, start = learner_of(TrainingSpec.from_json(values), ranks=ranks), sum(ROWS[: ranks.rank])
    losses = []
    for batch in batches(World()):
        mine = batch
        if ranks.size > 1:
            mine = {name: rows[start : start + ROWS[ranks.rank]] for name, rows in batch.items()}
        loss = learner.loss(mine)
        losses.append(ranks.total(loss))
        loss.backward()
        learner.sum_gradients()
        for optimizer in learner.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return {"losses": torch.stack(losses), **{name: w.detach() for name, w in learner.towers.named_parameters()}}


def work(rank: int, folder: Path, specs: dict[str, dict[str, Any]]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=RANKS)
    ranks = Ranks(rank, RANKS)
    torch.save({name: steps(values, ranks) for name, values in specs.items()}, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def specs_of(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    base = changed(values, user_id_dropout=0.0, item_id_dropout=0.0, batch_size=sum(ROWS), learn_temperature=True)
    base = changed(base, final_before=sum(ROWS) - 1, unclicked_length=4)  # the last row has no negatives of its own
    specs = {name: changed(base, negatives=negatives) for name, negatives in {**SCHEMES, **WITH_UNCLICKED}.items()}
    several = {"frequency_source": "streaming", "streaming_buckets": 20, "streaming_hashes": 3}
    shrunk = {"model": {**SPEC.to_json(), "item_id_shrinkage": 5.0}, "positive_temperature_ratio": 1.2}
    attentive = {"model": {**SPEC.to_json(), "user_encoder": "attention"}, "embedding_weight_decay": 1.0}
    sizes = {**SPEC.vocabulary_sizes, "user_id": SPEC.vocabulary_sizes["user_id"] + 5}
    grown = {**SPEC.to_json(), "item_id_shrinkage": 5.0, "vocabulary_sizes": sizes}  # five users are in no example
    live = {"model": grown, "min_id_examples": 1}
    return {
        **specs,
        "attention and decay": changed(specs["in_batch"], **attentive),
        "streaming": changed(specs["in_batch"], frequency_source="streaming"),
        "several hashes": changed(specs["in_batch"], **several),
        "shrunk ids": changed(specs["mixture"], **shrunk),
        "live ids": changed(specs["mixture"], **live),
    }


def with_pool(values: dict[str, Any], shares: pa.Table) -> None:
    """Put a pool of unclicked items into the probabilities, of which each is drawn with another probability."""
    file = Path(values["run"]["folder"]).with_name("probabilities.parquet")
    weights = np.where(np.arange(len(shares)) % 3 == 0, np.arange(len(shares)) + 1.0, 0.0)
    position = shares.column_names.index("p")
    pq.write_table(shares.set_column(position, "p", pa.array(weights / weights.sum())), file)


@pytest.fixture
def results(values: dict[str, Any], world: World, tmp_path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with_pool(values, world.probabilities())
    specs = specs_of(values)
    torch.multiprocessing.spawn(work, args=(tmp_path, specs), nprocs=RANKS)
    joined = {name: steps(made, ALONE) for name, made in specs.items()}
    return joined, [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]


def test_two_ranks_learn_what_one_does_from_the_joined_batch(
    results: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    joined, of_ranks = results
    for scheme, want in joined.items():
        assert want["losses"].std() > 1e-3, scheme
        for found in of_ranks:
            for name, value in want.items():
                torch.testing.assert_close(found[scheme][name], value, rtol=1e-4, atol=2e-5, msg=f"{scheme} {name}")


def test_with_one_rank_every_operation_returns_its_input() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    assert ALONE.gather(rows, [2]) is rows
    assert ALONE.counts(2, rows.device) == [2]
    assert ALONE.share(7) == slice(0, 7)
    assert ALONE.broadcast(0.5) == 0.5
    assert float(ALONE.total(rows.sum())) == 6.0


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_the_parts_of_all_ranks_cover_everything_once(count: int) -> None:
    shares = [Ranks(rank, 3).share(count) for rank in range(3)]
    assert [number for share in shares for number in range(count)[share]] == list(range(count))
