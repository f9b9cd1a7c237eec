"""The quality section of the report when evaluations are incomplete."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.report.page import Figure, Grid, Missing, Section
from jobs.report.sections import quality
from jobs.report.sections.quality import Evaluation, quality_section

DAY = dt.date(2026, 1, 5)
OF_LISTS = {
    ("candidates", "all", "item_coverage", 10): 0.5,
    ("candidates", "all", "never_clicked_share", 10): 0.0,
    **{
        ("candidates", name, "list_share", 10): share
        for name, share in (("head", 0.5), ("middle", 0.25), ("tail", 0.25))
    },
}
RANKING = {
    ("candidates", part, name, 10): 0.25 for part in ("all", "tail") for name in ("recall", "ndcg", "hit_rate", "mrr")
}


def section(monkeypatch: pytest.MonkeyPatch, values: dict[tuple[str, str, str, int], float], **more: Any) -> Section:
    only = Evaluation(DAY, DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2), values, **more)
    monkeypatch.setattr(quality, "evaluations", lambda lake, config, ds: [only])
    return quality_section(Lake(None, "nowhere"), load_config(), DAY)  # type: ignore[arg-type]


def test_a_day_on_which_nothing_was_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = section(monkeypatch, OF_LISTS)
    nothing, table, chart = found.blocks
    assert isinstance(nothing, Missing)
    assert isinstance(table, Grid)
    assert isinstance(chart, Figure)
    assert found.lead == "The lists of 2026-01-05, evaluated on the clicks of 2026-01-06 to 2026-01-07."


def test_candidates_alone_without_a_day_before_have_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    by_slice, positions, table, of_lists = section(monkeypatch, OF_LISTS | RANKING).blocks
    assert isinstance(by_slice, Figure)
    assert isinstance(positions, Figure)
    assert list(by_slice.legend) == ["candidates"]
    assert isinstance(table, Grid)
    assert list(table.head) == ["metric", "candidates"]
    assert [cell.text for cell in table.rows[0]] == ["Recall@10", "0.250"]
    assert isinstance(of_lists, Grid)
    assert [row[0].text for row in of_lists.rows] == ["item coverage", "share of never clicked items"], "those measured"


def test_means_over_users_have_their_interval_and_a_sample_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    intervals = {("candidates", "all", "recall", 10): (0.125, 0.5)}
    found = section(monkeypatch, OF_LISTS | RANKING, intervals=intervals, sample_share=0.02)
    table = next(block for block in found.blocks if isinstance(block, Grid))
    assert list(table.head) == ["metric", "candidates", "95 % interval"]
    assert [[cell.text for cell in row] for row in table.rows[:2]] == [
        ["Recall@10", "0.250", "0.125 to 0.500"],
        ["NDCG@10", "0.250", "–"],
    ]
    assert "a sample of 2.0 % of the users (evaluation.sample_share)" in found.lead
