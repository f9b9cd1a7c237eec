from __future__ import annotations

from typing import Any

import pytest

from jobs.config.loading import Config, load_config, merge
from jobs.config.presets import PRESETS, negatives_of, reads_pool
from model.negatives.settings import Negatives, SourceSettings


def config(training: dict[str, Any] | None = None, negatives: dict[str, Any] | None = None) -> Config:
    values = load_config().model_dump()
    return Config.model_validate(
        values
        | {"training": values["training"] | (training or {}), "negatives": values["negatives"] | (negatives or {})}
    )


@pytest.mark.parametrize(
    ("preset", "sources", "correction"),
    [
        ("in_batch", (0, 0, 0), "logq"),
        ("mns", (1024, 256, 0), "logq_negatives"),
        ("cbns", (0, 0, 8192), "logq"),
        ("mixed_cross_batch", (1024, 256, 8192), "logq_negatives"),
    ],
)
def test_a_preset_is_a_choice_of_sources_and_a_correction(
    preset: str, sources: tuple[int, ...], correction: str
) -> None:
    found = Negatives.from_json(negatives_of(config({"preset": preset}), pool_is_empty=False))
    assert (found.corpus, found.unclicked, found.bank) == sources
    assert found.correction == correction
    assert found.bank_holds == ("all" if preset == "mixed_cross_batch" else "positives")


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_never_clicked_items_are_drawn_with_every_preset(preset: str) -> None:
    found = negatives_of(config({"preset": preset}, {"never_clicked": 3, "never_clicked_weight": 0.5}), False)
    settings = Negatives.from_json(found).sources[-1]
    assert settings == SourceSettings("never_clicked", "never_clicked", 3, {"weight": 0.5})


def test_every_preset_of_the_configuration_is_known() -> None:
    for preset in PRESETS:
        config({"preset": preset})
    with pytest.raises(ValueError, match=r"training\.preset"):
        config({"preset": "best"})


def test_a_configured_correction_replaces_that_of_the_preset() -> None:
    assert negatives_of(config({"preset": "mns", "correction": "none"}), pool_is_empty=False)["correction"] == "none"


def test_an_empty_pool_stops_or_is_skipped_as_configured() -> None:
    with pytest.raises(ValueError, match=r"negatives\.unclicked must be 0 if the unclicked pool is empty, got 256"):
        negatives_of(config({"preset": "mns"}), pool_is_empty=True)
    skipped = negatives_of(config({"preset": "mns"}, {"empty_pool": "skip"}), pool_is_empty=True)
    assert (skipped["corpus"], skipped["unclicked"]) == (1024, 0)
    assert negatives_of(config(), pool_is_empty=True)["unclicked"] == 0  # this preset does not use the pool


@pytest.mark.parametrize(
    ("values", "reads"),
    [
        ({}, False),
        ({"training": {"preset": "cbns"}}, False),
        ({"training": {"preset": "mns"}}, True),
        ({"training": {"preset": "mns"}, "negatives": {"unclicked": 0}}, False),
        ({"variants": {"other": {"training": {"preset": "mixed_cross_batch"}}}}, True),
        ({"negatives": {"custom": {"own": {"source": "package.module:Source", "draws": 8}}}}, True),
        ({"negatives": {"custom": {"own": {"source": "package.module:Source", "draws": 0}}}}, False),
    ],
)
def test_the_pool_is_read_only_if_a_model_draws_from_it(values: dict[str, Any], reads: bool) -> None:
    assert reads_pool(Config.model_validate(merge(load_config().model_dump(), values))) == reads


def test_a_bank_smaller_than_a_batch_is_refused_by_its_key() -> None:
    with pytest.raises(ValueError, match=r"negatives\.bank must be at least training\.batch_size \(1024\), got 512"):
        negatives_of(config({"preset": "cbns"}, {"bank": 512}), pool_is_empty=False)


def test_a_custom_source_is_used_with_every_preset_after_the_built_in_ones() -> None:
    given = {"custom": {"recent": {"source": "my_package.recent:Recent", "draws": 64, "options": {"days": 3}}}}
    for preset in PRESETS:
        found = Negatives.from_json(negatives_of(config({"preset": preset}, given), pool_is_empty=False))
        assert found.sources[-1] == SourceSettings("recent", "my_package.recent:Recent", 64, {"days": 3})


@pytest.mark.parametrize("source", ["my_package.recent:", "my package:Recent", ""])
def test_a_custom_source_must_be_named_as_a_class(source: str) -> None:
    with pytest.raises(ValueError, match=r"negatives\.custom\.recent\.source"):
        config({}, {"custom": {"recent": {"source": source, "draws": 64}}})
