"""A reader without Spark during publications and rollbacks: a short run of benchmarks/serving/publication_readers.py."""

from __future__ import annotations

import statistics

import pandas as pd
import pytest

from benchmarks.serving.publication_readers import (
    AT,
    DAY,
    LIST,
    inconsistency,
    publications_and_rollbacks,
    readers,
    write_lists,
    write_vectors,
)
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from jobs.serving.publishing import newest_target, publish

USERS = 200


@pytest.fixture
def published(lake: Lake) -> Lake:
    write_vectors(lake)
    write_lists(lake, "publication-0", USERS)
    publish(lake, {**newest_target(lake, DAY), "users": USERS}, AT, republish=False)
    return lake


def test_a_reader_sees_whole_publications_only(published: Lake) -> None:
    with readers(published.uri, rate=100, users=USERS, processes=1) as seen:
        rollbacks = publications_and_rollbacks(published, 6, USERS, seed=1)
    (one,) = seen
    assert one["torn"] == []
    assert one["reads"] > 100
    assert len(one["publications"]) >= 6  # it follows the pointer, also back
    assert statistics.median(rollbacks) < 5


def test_a_mixed_answer_is_reported(published: Lake) -> None:
    """The control of the test above."""
    whole = read_candidates(published.uri, ["user1"])
    assert inconsistency(whole, 1) is None
    other = whole.assign(model_version="publication-1", item_id=whole["item_id"].str.replace("-0-", "-1-"))
    assert inconsistency(other, 1) is None
    mixed = pd.concat([whole.head(LIST // 2), other.tail(LIST // 2)])
    assert "of ['publication-0', 'publication-1']" in str(inconsistency(mixed, 1))
    assert "items of" in str(inconsistency(whole.assign(model_version="publication-1"), 1))
    assert str(inconsistency(whole.head(3), 1)).startswith("3 rows")
