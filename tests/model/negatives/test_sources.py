"""Every source of negatives, built-in or not: its draws agree with its expected counts, and its state is complete."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from model.negatives.settings import Negatives, SourceSettings
from model.negatives.sources import SOURCES, NegativeSource, Probabilities, make_sources
from tests.model.negatives.objectives import ITEMS, POSITIVES, P, Q, U, objective

RECENT = SourceSettings("recent", "tests.extensions.my_source:RecentClicks", 6, {"window": 7})
ALL = [*(SourceSettings(name, name, 6) for name in SOURCES.built_in), RECENT]
EVERYTHING = torch.arange(ITEMS)


def made(settings: SourceSettings) -> NegativeSource:
    return make_sources([settings], Probabilities(Q, U, P))[settings.name]


@pytest.fixture
def table() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(1)), dim=1)


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.name)
def test_draws_agree_with_expected_counts(settings: SourceSettings, steps: int) -> None:
    source, generator, batches = made(settings), torch.Generator().manual_seed(3), 20_000
    for _ in range(steps):
        source.after_step(POSITIVES)
    drawn = torch.stack([source.draw(generator) for _ in range(batches)])  # [batches, draws]
    assert drawn.shape == (batches, settings.draws)
    expected = source.expected_count(EVERYTHING)
    assert expected.dtype == torch.float64
    assert float(expected.sum()) == pytest.approx(settings.draws)
    counts = torch.bincount(drawn.view(-1), minlength=ITEMS) / batches
    assert not counts[expected == 0].any()
    assert torch.allclose(counts.double(), expected, atol=0.05)


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.name)
def test_a_source_resumes_from_its_state(settings: SourceSettings) -> None:
    source, resumed = made(settings), made(settings)
    source.after_step(POSITIVES)
    resumed.load_state_dict(source.state_dict())
    assert torch.equal(resumed.expected_count(EVERYTHING), source.expected_count(EVERYTHING))
    draws = [one.draw(torch.Generator().manual_seed(1)) for one in (source, resumed)]
    assert torch.equal(*draws)


def never_clicked(weight: float = 1.0) -> NegativeSource:
    [settings] = Negatives("logq", never_clicked=6, never_clicked_weight=weight).sources
    return made(settings)


def test_never_clicked_items_are_those_of_the_catalogue_without_a_row() -> None:
    wanted = torch.where((Q == 0) & (U > 0), 1.0, 0.0).double()
    assert torch.allclose(never_clicked().expected_count(EVERYTHING), wanted * 6 / wanted.sum())


def test_a_weight_makes_never_clicked_items_count_as_fewer_or_more() -> None:
    counted = never_clicked().expected_count(EVERYTHING)
    assert torch.allclose(never_clicked(0.1).expected_count(EVERYTHING), counted * 10)  # a column is divided by it
    with pytest.raises(ValueError, match=r"negatives\.never_clicked_weight must be finite and above 0, got 0"):
        never_clicked(0.0)


def test_an_item_of_the_earlier_rows_is_not_never_clicked_on_the_last_day() -> None:
    source = never_clicked()
    last = torch.zeros_like(Q)
    last[6] = 1.0  # only this item is clicked on the last day
    source.switch_to(Probabilities(last, U, P))
    expected = source.expected_count(EVERYTHING)
    assert not expected[Q > 0].any()
    assert not expected[6]
    assert float(expected.sum()) == pytest.approx(6)


def test_without_a_never_clicked_item_none_is_drawn() -> None:
    everywhere = Probabilities(U, U, P)
    loss = objective(everywhere, never_clicked=6)
    assert not len(loss.mixture.draw())
    assert not loss.mixture.sources["never_clicked"].expected_count(EVERYTHING).any()


def test_the_columns_of_a_custom_source_are_counted_with_all_others(table: Tensor) -> None:
    mixed = objective(corpus=4, custom=(RECENT,)).mixture
    drawn = mixed.draw()
    assert len(drawn) == 4 + RECENT.draws
    columns = mixed.columns(table[drawn], drawn, 5, lambda ids: table[ids]).fresh
    wanted = 4 * Q + 4 * U + made(RECENT).expected_count(EVERYTHING)
    assert torch.allclose(columns.log_expected_count, wanted[drawn].log().float())


def test_after_a_step_a_source_is_told_the_clicks_and_the_report_contains_its_measurements(table: Tensor) -> None:
    loss = objective(custom=(RECENT,))
    for _ in range(3):
        loss(table[POSITIVES], POSITIVES, lambda ids: table[ids])
    assert loss.report()["sources"] == {"recent": {"draws": 18, "recent_items": 4}}
    assert "sources" not in objective(corpus=2).report()


def test_a_source_of_no_draws_is_left_out() -> None:
    settings = SourceSettings("recent", "nowhere:Nothing", 0)
    assert Negatives("none", corpus=3, custom=(settings,)).sources == [SourceSettings("corpus", "corpus", 3)]


def test_a_source_that_draws_another_number_of_items_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = objective(corpus=4).mixture
    monkeypatch.setattr(mixed.sources["corpus"], "draws", 5)
    monkeypatch.setattr(mixed.sources["corpus"].sampler, "sample", lambda n, generator: EVERYTHING)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"source corpus must draw 5 items, got shape \[12\]"):
        mixed.draw()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            "recent",
            {},
            r"negatives\.custom source must be one of \['corpus', 'never_clicked', 'unclicked'\] or .*, got 'recent'",
        ),
        ("tests.extensions.nowhere:Source", {}, "cannot be imported"),
        ("tests.extensions.my_source:NegativeSourceOf", {}, "cannot be imported"),
        ("collections:OrderedDict", {}, "must be a subclass of model.negatives.sources:NegativeSource"),
        (RECENT.source, {"windw": 3}, r"negatives\.custom\.mine: RecentClicks cannot be created: .*windw"),
        ("model.negatives.sources:NegativeSource", {}, r"negatives\.custom\.mine: NegativeSource cannot be created"),
    ],
)
def test_a_source_that_cannot_be_created_is_refused(source: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_sources([SourceSettings("mine", source, 3, options)], Probabilities(Q, U, P))
