"""Hashed user ids: which rows an id has, what its vector is, and what stays the same when live ids change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.artifacts.model_version import ModelVersion, load_model, save_model
from model.features import Feature, FeatureSpec
from model.towers.hashed_ids import HashedIdEmbedding, hashed_rows
from model.towers.two_towers import TwoTowers
from model.training.optimizers import RowWiseAdagrad
from model.vocabulary import FIRST_INDEX, PADDING, UNKNOWN
from tests.model.towers.small_towers import SPEC, D, users

BUCKETS, HASHES, MANY = 50, 3, 20_000
HASHED = FeatureSpec("user_id", "hashed_id", D, 1, "user_index", "user_id", buckets=BUCKETS, hashes=HASHES)
HASHED_SPEC = replace(SPEC, user=(HASHED, *SPEC.user[1:]), vocabulary_sizes={"user_id": MANY, "item_id": 8})


def towers(live: list[int] | None = None) -> TwoTowers:
    torch.manual_seed(0)
    if live is None:
        return TwoTowers(HASHED_SPEC)
    made = TwoTowers(replace(HASHED_SPEC, table_rows={"user_id": len(live)}))
    made.assign_rows({"user_id": torch.tensor(live)})
    return made


def vectors(of: TwoTowers, indices: list[int]) -> torch.Tensor:
    two = len(indices) * [0]
    inputs = {name: values[two] for name, values in users().items()}
    return of.user(inputs | {"user_id": torch.tensor(indices)})


def split_mix(value: int) -> int:
    """The output function of SplitMix64 as it is published, in Python's whole numbers."""
    mask = 2**64 - 1
    value &= mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_rows_are_those_of_split_mix() -> None:
    indices = [2, 3, 1_000_003, 2**31 - 1]
    rows = hashed_rows(torch.tensor(indices), BUCKETS, HASHES)
    golden = 0x9E3779B97F4A7C15
    expected = [
        [(split_mix((index * HASHES + 1 + n) * golden) >> 1) % BUCKETS + FIRST_INDEX for n in range(HASHES)]
        for index in indices
    ]
    assert rows.tolist() == expected


def test_rows_are_uniform_and_independent() -> None:
    rows = hashed_rows(torch.arange(FIRST_INDEX, MANY), BUCKETS, HASHES)
    assert (int(rows.min()), int(rows.max())) == (FIRST_INDEX, FIRST_INDEX + BUCKETS - 1)
    expected = len(rows) / BUCKETS
    for n in range(HASHES):
        counts = np.bincount(rows[:, n].numpy() - FIRST_INDEX, minlength=BUCKETS)
        assert ((counts - expected) ** 2 / expected).sum() < 90  # chi-square of 49 degrees of freedom: 1 in 3,000
    assert float((rows[:, 0] == rows[:, 1]).double().mean()) == pytest.approx(1 / BUCKETS, abs=0.004)


def test_a_vector_is_the_sum_of_its_rows_and_the_unknown_id_has_its_own() -> None:
    embedding = HashedIdEmbedding(HASHED, MANY)
    table = embedding.table.weight
    got = embedding(torch.tensor([2, 77, UNKNOWN, PADDING, MANY, MANY + 5]))
    for position, index in enumerate([2, 77]):
        rows = hashed_rows(torch.tensor([index]), BUCKETS, HASHES)[0]
        torch.testing.assert_close(got[position], table[rows].sum(0))
    torch.testing.assert_close(got[2], table[UNKNOWN])
    assert not got[3].any()
    torch.testing.assert_close(got[4:], got[[2, 2]])  # newer than the model
    deviation = float(embedding(torch.arange(2, 5000)).detach().std())
    assert deviation == pytest.approx(0.1, rel=0.1)  # as that of a row of a full table


def test_a_step_moves_the_rows_of_the_batch_alone() -> None:
    embedding = HashedIdEmbedding(HASHED, MANY)
    before = embedding.table.weight.detach().clone()
    embedding(torch.tensor([5, UNKNOWN]))[:, 0].sum().backward()
    assert embedding.table.weight.grad is not None
    assert embedding.table.weight.grad.is_sparse
    RowWiseAdagrad([embedding.table.weight], lr=0.1).step()
    moved = (embedding.table.weight.detach() != before).any(1).nonzero()[:, 0].tolist()
    assert set(moved) == {UNKNOWN, *hashed_rows(torch.tensor([5]), BUCKETS, HASHES)[0].tolist()}


def test_an_id_has_the_same_rows_whichever_other_ids_are_live() -> None:
    fewer, more = towers([0, 1, 7, 900]), towers([0, 1, 3, 7, 8, 900, 19_000])
    torch.testing.assert_close(vectors(fewer, [7, 900]), vectors(more, [7, 900]))
    torch.testing.assert_close(vectors(fewer, [7]), vectors(towers(), [7]))
    of_dead = vectors(fewer, [3, 8, 19_000, UNKNOWN, MANY + 1])
    torch.testing.assert_close(of_dead, of_dead[3:4].expand(5, -1))
    assert not torch.equal(vectors(more, [3]), vectors(more, [UNKNOWN]))


def test_the_table_has_as_many_rows_as_buckets_and_is_copied_whole_by_a_warm_start() -> None:
    live = list(range(BUCKETS + FIRST_INDEX))  # as many as the table has rows, which must not be taken for the same
    made = towers(live)
    weights = made.user.embedding("user_id").get_parameter("table.weight")
    assert weights.shape == (BUCKETS + FIRST_INDEX, D)
    assert "user.embeddings.of_user_id.table.weight" not in made.indices_of_tables()
    assert any(weights is table for table in made.tables())


def test_a_saved_model_embeds_as_it_did(tmp_path: Path) -> None:
    made = towers([0, 1, 7, 900])
    save_model(tmp_path / "model", made, ModelVersion("v1", made.spec, {}, {}, {}))
    loaded, version = load_model(tmp_path / "model")
    assert (version.spec.user[0].buckets, version.spec.user[0].hashes) == (BUCKETS, HASHES)
    torch.testing.assert_close(vectors(loaded, [7, 900, 3]), vectors(made, [7, 900, 3]))


def test_a_declared_feature_keeps_its_buckets() -> None:
    declared = FeatureSpec.declared(Feature("user_id", "hashed_id", D, buckets=BUCKETS, hashes=HASHES), "user")
    assert declared == HASHED
