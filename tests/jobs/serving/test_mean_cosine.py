"""The mean cosine of two users' vectors, compared with all pairs. Axes: U users, Q interests, D dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs.lake.queries import query

U, Q, D = 40, 3, 4


def mean_cosine(spark: SparkSession, vectors: np.ndarray, interests: int) -> float:
    rows = [(f"{number}", row.tolist()) for number, row in enumerate(vectors.reshape(len(vectors), -1))]
    frame = spark.createDataFrame(rows, "id string, embedding array<float>")  # type: ignore[type-var]
    found = query(spark, "gate/mean_cosine", {"vectors": frame}, one_in=1, interests=interests).first()
    assert found is not None
    return float(found.mean_cosine)


def test_the_same_interests_of_two_users_are_compared(spark: SparkSession) -> None:
    vectors = np.random.default_rng(0).normal(size=(U, Q, D)).astype(np.float32) + 0.5
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    pairs = np.einsum("uqd,vqd->uvq", vectors, vectors)  # with a user's own: a sample is large
    assert mean_cosine(spark, vectors, Q) == pytest.approx(pairs.mean(axis=(0, 1)).max(), abs=1e-6)
    assert mean_cosine(spark, vectors[:, 0], 1) == pytest.approx(pairs[:, :, 0].mean(), abs=1e-6)


def test_users_that_are_alike_are_seen_however_much_their_interests_differ(spark: SparkSession) -> None:
    alike = np.broadcast_to(np.eye(Q, D, dtype=np.float32), (U, Q, D))  # interests at right angles
    assert mean_cosine(spark, alike, Q) == pytest.approx(1.0)


@pytest.mark.parametrize("collapsed", range(Q))
def test_one_interest_that_is_alike_for_all_users_is_seen_beside_others(spark: SparkSession, collapsed: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(U, Q, D)).astype(np.float32)
    vectors[:, collapsed] = vectors[0, collapsed]
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    assert np.einsum("uqd,vqd->uvq", vectors, vectors).mean() < 0.5
    assert mean_cosine(spark, vectors, Q) == pytest.approx(1.0)
