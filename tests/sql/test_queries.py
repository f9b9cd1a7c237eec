"""Every SQL file has well-formed parameters and frames, and `query` refuses arguments that do not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.lake.queries import query

FILES = sorted(Path(sql.__file__).parent.glob("*/*.sql"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in FILES]


@pytest.mark.parametrize("name", NAMES)
def test_braces_and_parameters_are_well_formed(name: str) -> None:
    text = sql.read(name)
    assert "--" not in text
    assert re.findall(r"[{}]", text) == ["{", "}"] * len(re.findall(r"\{[a-z_]+\}", text)), "a stray brace"
    assert sql.frames(name), "a query reads at least one frame"
    assert not re.search(r"interval\s+:|in\s*\(\s*:", text, re.IGNORECASE), "Spark takes no parameter there"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_opens_with_a_comment_that_says_what_it_makes(name: str) -> None:
    assert (Path(sql.__file__).parent / f"{name}.sql").read_text("utf-8").startswith("-- ")


def test_every_file_is_run_by_a_job() -> None:
    jobs = Path(sql.__file__).parents[1] / "jobs"
    code = "".join(path.read_text("utf-8") for path in jobs.rglob("*.py"))
    checked = set(re.findall(r"(?:overwrite_checked\(lake, |\bchecked\()tables\.([A-Z_]+|[a-z_]+\(config\))", code))
    homes = {name.removesuffix("(config)").lower() for name in checked} | {"training_examples"}
    homes |= {"item_snapshot", "user_snapshot", "item_changes"}  # `build_snapshots` picks one of the first two
    unused = [name for name in NAMES if not name.endswith("/checks") and f'"{name}"' not in code]
    assert unused == []
    assert [name for name in NAMES if name.endswith("/checks") and name.split("/")[0] not in homes] == []


def test_unknown_and_missing_arguments_are_refused(spark: SparkSession) -> None:
    frame = spark.range(1)
    with pytest.raises(ValueError, match=r"takes frames .*item_sampling_probs.* parameters .*head_share"):
        query(spark, "evaluation/item_slices", {"item_sampling_probs": frame}, head_share=0.5)
    with pytest.raises(ValueError, match=r"got .*surplus"):
        query(
            spark,
            "evaluation/item_slices",
            {"item_sampling_probs": frame, "surplus": frame},
            head_share=0.5,
            middle_share=0.3,
        )
