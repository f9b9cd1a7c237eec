"""Streaming frequencies compared with hand-worked values, with a loop, and with known streams. Axis: N ids."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from model.frequency import StreamingFrequency, drift_report, hash_bucket
from model.negatives import CategoricalSampler


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: in thousands of small steps, threads on a busy machine would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_rule_by_hand() -> None:
    frequency = StreamingFrequency(8, alpha=0.5, initial_interval=4.0)
    frequency.update(torch.tensor([3, 3, 5, 3]), 2)
    # item 3: B = (4 + 2) / 2, K = (1 + 3) / 2; item 5: the same B, K = 1; item 0 is as it was
    ids = torch.tensor([3, 5, 0])
    torch.testing.assert_close(frequency.hit_probability(ids), torch.tensor([1 / 3, 1 / 3, 1 / 4]))
    torch.testing.assert_close(frequency.expected_count(ids), torch.tensor([2 / 3, 1 / 3, 1 / 4]))
    frequency.update(torch.tensor([[3], [0]]), 7)
    # item 3: B = (3 + 5) / 2, K = (2 + 1) / 2; item 0: B = (4 + 7) / 2, K = 1
    torch.testing.assert_close(frequency.hit_probability(ids), torch.tensor([1 / 4, 1 / 3, 2 / 11]))
    torch.testing.assert_close(frequency.expected_count(ids), torch.tensor([1.5 / 4, 1 / 3, 2 / 11]))


@pytest.mark.parametrize("hashes", [1, 3])
def test_equals_a_loop_over_buckets(hashes: int) -> None:
    generator = torch.Generator().manual_seed(hashes)
    frequency = StreamingFrequency(7, hashes=hashes, alpha=0.1, initial_interval=5.0)
    last, interval, count = Counter[Any](), {}, {}
    for step in (1, 2, 5, 6, 20):
        ids = torch.randint(0, 40, (30,), generator=generator)
        frequency.update(ids, step)
        for seed in range(hashes):
            for bucket, c in Counter(hash_bucket(ids, seed, 7).tolist()).items():
                cell = (seed, bucket)
                interval[cell] = 0.9 * interval.get(cell, 5.0) + 0.1 * (step - last[cell])
                count[cell] = 0.9 * count.get(cell, 1.0) + 0.1 * c
                last[cell] = step
    for item in range(40):
        cells = [(seed, int(hash_bucket(torch.tensor([item]), seed, 7))) for seed in range(hashes)]
        largest = max(interval.get(cell, 5.0) for cell in cells)
        smallest = min(count.get(cell, 1.0) / interval.get(cell, 5.0) for cell in cells)
        assert float(frequency.hit_probability(torch.tensor(item))) == pytest.approx(1 / largest)
        assert float(frequency.expected_count(torch.tensor(item))) == pytest.approx(smallest)


def zipf_stream(items: int) -> tuple[CategoricalSampler, Tensor]:
    weights = 1 / torch.arange(1, items + 1, dtype=torch.float64)
    return CategoricalSampler(weights / weights.sum()), weights / weights.sum()


def test_counts_of_items_in_every_batch() -> None:
    sampler, q = zipf_stream(100_000)
    generator, frequency = torch.Generator().manual_seed(0), StreamingFrequency(100_000)
    for step in range(1, 601):
        frequency.update(sampler.sample(8_192, generator), step)
    ids = torch.tensor([0, 9, 49, 99])
    true = 8_192 * q[ids].float()
    assert true.tolist() == pytest.approx([678, 68, 13.6, 6.8], rel=0.01)
    assert (frequency.hit_probability(ids) > 0.95).all()  # which is why a hit probability is not enough
    torch.testing.assert_close(frequency.expected_count(ids), true, rtol=0.1, atol=0)


def test_intervals_of_items_that_come_regularly() -> None:
    frequency = StreamingFrequency(10, alpha=0.05)
    for step in range(1, 601):
        frequency.update(torch.tensor([item for item in (1, 2, 5) if step % item == 0]), step)
    expected = torch.tensor([1, 1 / 2, 1 / 5])
    torch.testing.assert_close(frequency.hit_probability(torch.tensor([1, 2, 5])), expected, rtol=0.01, atol=0)


def test_several_hashes_repair_collisions() -> None:
    items, rows = 2_000, 256
    sampler, q = zipf_stream(items)
    rare = torch.arange(400, items)
    errors = []
    for hashes in (1, 4):
        frequency, generator = StreamingFrequency(500, hashes=hashes), torch.Generator().manual_seed(0)
        for step in range(1, 2_001):
            frequency.update(sampler.sample(rows, generator), step)
        errors.append(float((frequency.expected_count(rare) / (rows * q[rare]) - 1).abs().median()))
    assert errors[0] > 1.0
    assert errors[1] < 0.6 * errors[0]


def test_a_change_of_popularity_is_followed() -> None:
    frequency = StreamingFrequency(4, alpha=0.1)
    for step in range(1, 201):
        frequency.update(torch.tensor([0] if step <= 100 else [0, 0, 0, 0]), step)
        if step == 100:
            assert float(frequency.expected_count(torch.tensor(0))) == pytest.approx(1, rel=0.01)
    assert float(frequency.expected_count(torch.tensor(0))) == pytest.approx(4, rel=0.01)


def test_a_seed_knows_the_counts_from_the_start() -> None:
    frequency, q = StreamingFrequency(8), torch.tensor([0.5, 0.3, 0.199, 0.001])
    ids = torch.arange(4)
    frequency.seed_from_probabilities(ids, q, batch_rows=20)
    torch.testing.assert_close(frequency.expected_count(ids), 20 * q)
    torch.testing.assert_close(frequency.hit_probability(ids), 1 - (1 - q) ** 20, rtol=1e-4, atol=0)
    assert float(frequency.hit_probability(torch.tensor(7))) == pytest.approx(0.1)  # not seeded
    generator, sampler = torch.Generator().manual_seed(0), CategoricalSampler(q)
    for step in range(1, 301):
        frequency.update(sampler.sample(20, generator), step)
    torch.testing.assert_close(frequency.expected_count(ids[:3]), 20 * q[:3], rtol=0.15, atol=0)


def test_a_seed_adds_up_what_shares_a_bucket() -> None:
    frequency = StreamingFrequency(2, hashes=2)
    frequency.seed_from_probabilities(torch.arange(4), torch.tensor([0.1, 0.2, 0.3, 0.4]), batch_rows=10)
    places = [hash_bucket(torch.arange(4), seed, 2) for seed in range(2)]
    q = torch.tensor([0.1, 0.2, 0.3, 0.4])
    mass = torch.stack([torch.zeros(2).index_add(0, place, q)[place] for place in places]).amin(0)  # [N]
    torch.testing.assert_close(frequency.expected_count(torch.arange(4)), 10 * mass)


def test_hashes_are_the_same_in_every_process() -> None:
    ids = torch.tensor([0, 1, 2, 123_456_789, 2**62 + 1, -5])
    assert hash_bucket(ids, 0, 1000).tolist() == [0, 1, 2, 789, 905, 995]
    assert hash_bucket(ids, 1, 2**62).tolist() == [splitmix64(int(i), 1) % 2**62 for i in ids]
    spread = hash_bucket(torch.arange(100_000), 2, 100).bincount(minlength=100)
    assert spread.min() > 850
    assert spread.max() < 1150


def splitmix64(value: int, seed: int) -> int:
    """splitmix64 with unbounded integers; the result is read as a signed 64-bit number."""
    mask = 2**64 - 1
    mixed = (value + seed * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    mixed ^= mixed >> 31
    return mixed - 2**64 if mixed >= 2**63 else mixed


def test_it_resumes_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randint(0, 50, (20,), generator=generator) for _ in range(10)]
    through, first = StreamingFrequency(16, hashes=2), StreamingFrequency(16, hashes=2)
    for step, ids in enumerate(batches[:5], start=1):
        through.update(ids, step)
        first.update(ids, step)
    state, resumed = first.state_dict(), StreamingFrequency(16, hashes=2)
    first.update(batches[0], 6)  # the saved state is a copy
    resumed.load_state_dict(state)
    with pytest.raises(ValueError, match="got 5 after 5"):
        resumed.update(batches[4], 5)
    for step, ids in enumerate(batches[5:], start=6):
        through.update(ids, step)
        resumed.update(ids, step)
    for name, value in through.state_dict().items():
        assert torch.equal(torch.as_tensor(resumed.state_dict()[name]), torch.as_tensor(value))
    with pytest.raises(ValueError, match="hashes must be 1, got 2"):
        StreamingFrequency(16).load_state_dict(state)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_is_refused_by_its_key(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1, got"):
        StreamingFrequency(4, alpha=alpha)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"buckets": 0}, "buckets and hashes must be at least 1, got 0 and 1"),
        ({"buckets": 4, "hashes": 0}, "got 4 and 0"),
        (
            {"buckets": 4, "initial_interval": 0.0},
            "initial_interval must be a positive number of steps, got 0.0",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingFrequency(**settings)


def test_steps_that_do_not_ascend_and_ids_that_are_none_are_refused() -> None:
    frequency = StreamingFrequency(4)
    with pytest.raises(ValueError, match="steps count from 1 and ascend, got 0 after 0"):
        frequency.update(torch.tensor([1]), 0)
    frequency.update(torch.tensor([1]), 3)
    with pytest.raises(ValueError, match="got 3 after 3"):
        frequency.update(torch.tensor([1]), 3)
    with pytest.raises(ValueError, match="ids must be integers"):
        frequency.update(torch.tensor([1.0]), 4)


@pytest.mark.parametrize(
    ("probabilities", "rows", "message"),
    [
        ([0.5, 0.6], 1, "sum to at most 1, got a sum of 1.1"),
        ([0.5, -0.1], 1, "0 or more"),
        ([0.5, math.nan], 1, "0 or more"),
        ([0.5], 1, r"shape \[2\], got \[1\]"),
        ([0.5, 0.5], 0, "batch_rows must be at least 1, got 0"),
    ],
)
def test_wrong_seeds_are_refused(probabilities: list[float], rows: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingFrequency(4).seed_from_probabilities(torch.arange(2), torch.tensor(probabilities), rows)


def test_a_drift_report_says_how_far_and_where() -> None:
    ids, counted = torch.tensor([4, 7, 9]), torch.tensor([0.5, 0.25, 0.25])
    report = drift_report(ids, torch.tensor([0.25, 0.25, 0.5]), counted)
    assert report["items"] == 3
    assert report["total_variation"] == pytest.approx(0.25)
    assert report["log_ratio"] == pytest.approx(0.75 * math.log(2))  # 3 / 4 of the examples are off by a factor of 2
    assert {row["item_index"] for row in report["worst"][:2]} == {4, 9}
    assert report["worst"][2] == {"item_index": 7, "estimated": 0.25, "counted": 0.25}
    exact = drift_report(ids, counted, counted)
    assert (exact["total_variation"], exact["log_ratio"]) == (0, 0)
