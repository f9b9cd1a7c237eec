"""How the settings of schemes are chosen, tested and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.quality import compare_schemes
from benchmarks.quality.compare_schemes import Results
from benchmarks.quality.scheme_report import draw, replace_part, table
from benchmarks.quality.scheme_sets import SCHEMES, SETS
from benchmarks.worlds import amazon_beauty
from jobs.config.loading import Config, load_config, merge
from jobs.config.presets import negatives_of


class Trainer:
    """Replaces the training process: records its calls and returns a recall that depends on the temperature."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, *arguments: str, smoke: bool = False) -> str:
        asked = json.loads(arguments[1])
        self.asked.append(asked)
        training = asked["configuration"]["training"]
        recall = 0.5 - abs(training["temperature"] - 0.2) + (0.1 if training["learning_rate"] > 0.05 else 0.0)
        curve = [[1, 2.0, recall - 0.2, 0.1], [2, 4.0, recall, 0.2], [3, 6.0, recall - 0.1, 0.3]]
        return "a warning\n" + json.dumps({"recall@20": recall, "ndcg@20": 0.1, "seconds": 6.0, "curve": curve})


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stand_in = Trainer()
    monkeypatch.setattr(compare_schemes, "_child", stand_in)
    return stand_in


def test_the_best_setting_on_validation_is_tested_with_three_seeds_and_nothing_is_run_twice(
    tmp_path: Path, trainer: Trainer
) -> None:
    chosen, file = SETS["movielens"], tmp_path / "results.jsonl"
    folders = (tmp_path / "validation", tmp_path / "test")
    compare_schemes.choose_and_test(chosen, "in_batch", folders, Results(file))
    tried, tested = trainer.asked[:-3], trainer.asked[-3:]
    assert {asked["prepared"] for asked in tried} == {str(folders[0])}
    assert {asked["prepared"] for asked in tested} == {str(folders[1])}
    assert len(tried) == len(chosen.temperatures) + len(chosen.rates)
    settings = [asked["configuration"]["training"] for asked in tested]
    assert {(one["temperature"], one["learning_rate"], one["epochs"]) for one in settings} == {(0.2, 0.1, 2)}
    assert [one["seed"] for one in settings] == [1, 2, 3]
    before = len(trainer.asked)
    compare_schemes.choose_and_test(chosen, "in_batch", folders, Results(file))
    assert len(trainer.asked) == before
    compare_schemes.choose_and_test(chosen, "mns", folders, Results(file))
    assert len(trainer.asked) == 2 * before


def test_settings_are_chosen_by_both_metrics_where_both_are_published() -> None:
    points = [[1, 0.0, 0.30, 0.10], [2, 0.0, 0.29, 0.15]]
    assert [max(points, key=SETS[name].selection_value)[0] for name in ("movielens", "amazon_beauty")] == [1, 2]


@pytest.mark.parametrize("name", sorted(SETS))
def test_every_scheme_of_a_set_is_a_valid_configuration(name: str) -> None:
    chosen = SETS[name]
    for scheme in chosen.schemes:
        base = merge(load_config().model_dump(), chosen.configuration)
        config = Config.model_validate(merge(base, SCHEMES[scheme]))
        assert negatives_of(config, pool_is_empty=True)["unclicked"] == 0


def test_a_set_without_its_source_is_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trainer: Trainer
) -> None:
    from dataclasses import replace

    gone = replace(SETS["amazon_beauty"], source=tmp_path / "nowhere")
    compare_schemes.compare(gone, ["in_batch"], tmp_path, report_only=False)
    assert "amazon_beauty: skipped" in capsys.readouterr().out
    assert not trainer.asked


def test_a_report_replaces_only_its_own_part(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n\nbefore\n", "utf-8")
    replace_part(file, "schemes a", "first\n")
    replace_part(file, "schemes b", "other\n")
    replace_part(file, "schemes a", r"second \1" + "\n")
    text = file.read_text("utf-8")
    assert text.startswith("# Results\n\nbefore\n")
    assert "first" not in text
    assert text.count(r"second \1") == text.count("other") == text.count("<!-- schemes a -->") == 1


class Popular:
    """An evaluator that only evaluates popularity."""

    users = pa.table({"user_index": [2, 3]})

    def popularity(self) -> dict[str, float]:
        return {"recall@20": 0.125}

    def least_never_clicked_share(self, k: int) -> float:
        return k / 1_000


def test_a_table_has_mean_and_deviation_of_metrics_that_all_runs_have() -> None:
    training = {"temperature": 0.2, "learning_rate": 0.05, "epochs": 3}
    runs = [
        {"recall@20": recall, "ndcg@20": 0.1, "rows_per_second": 1_000.4, "configuration": {"training": training}}
        for recall in (0.1, 0.2, 0.3)
    ]
    later = [run | {"tail_among_tail": 0.5} for run in runs]
    made = table(SETS["movielens"], {"in_batch": runs, "mns": later}, Popular()).splitlines()  # type: ignore[arg-type]
    assert "0.0200 (top 20), 0.1000 (top 100)" in made[1]
    assert made[3] == "| scheme | Recall@20 | NDCG@20 | examples/s |"
    assert made[5:] == [
        "| popularity | 0.1250 |  |  |",
        "| in_batch (τ 0.2, rate 0.05, 3 epochs) | 0.2000 ± 0.1000 | 0.1000 ± 0.0000 | 1,000 |",
        "| mns (τ 0.2, rate 0.05, 3 epochs) | 0.2000 ± 0.1000 | 0.1000 ± 0.0000 | 1,000 |",
    ]


def test_a_plot_of_the_same_runs_is_the_same_file(tmp_path: Path) -> None:
    runs: dict[str, Any] = {"in_batch": [{"curve": [[1, 2.0, 0.1, 0.1], [2, 4.0, 0.2, 0.1]]}] * 2}
    drawn = []
    for _ in range(2):
        draw("a set", runs, tmp_path / "plot.svg")
        drawn.append((tmp_path / "plot.svg").read_text("utf-8"))
    assert drawn[0] == drawn[1]
    assert "in_batch" in drawn[0]


def test_held_out_pairs_belong_to_the_user_and_are_not_trained_on() -> None:
    pairs = [np.array([4]), np.array([1, 2]), np.arange(10)]
    kept, held = amazon_beauty.hold_out(pairs, 0.2, seed=1)
    assert [len(items) for items in held] == [0, 1, 2]
    for items, left, out in zip(pairs, kept, held, strict=True):
        assert sorted([*left, *out]) == sorted(items)


def test_amazon_beauty_is_prepared_for_the_trainer(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.txt").write_text("0 1 2 3\n1 0 2\n", "ascii")
    (source / "test.txt").write_text("0 0\n1 4\n", "ascii")
    _, test = amazon_beauty.prepare(tmp_path / "out", source)
    import pyarrow.parquet as pq

    examples = pq.read_table(test / "examples.parquet").to_pylist()
    assert len(examples) == 5
    for example in examples:
        own = {1: {3, 4, 5}, 0: {2, 4}}[
            1 if example["item_index"] in (3, 5) or len(set(example["history"])) == 3 else 0
        ]
        assert {item for item in example["history"] if item} == own - {example["item_index"]}
    users = pq.read_table(test / "relevant.parquet").to_pylist()
    assert [user["relevant"] for user in users] == [[2], [6]]
    assert [user["excluded"] for user in users] == [[3, 4, 5], [2, 4]]
    shares = pq.read_table(test / "probabilities.parquet").to_pydict()
    assert shares["item_index"] == [2, 3, 4, 5, 6]
    assert shares["q"] == pytest.approx([0.2, 0.2, 0.4, 0.2, 0.0])
