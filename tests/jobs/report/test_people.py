"""The users of the page: how they are named, what their items are called, and which click a candidate is like."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from pyspark.sql import functions as F

from jobs import build_snapshots
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.snapshots import rows
from jobs.report.page import Missing, Person
from jobs.report.sections import people
from jobs.report.sections.people import nearest_click, people_section
from jobs.serving.item_texts import ItemText, item_texts
from tests.conftest import DAYS

THIRD = DAYS[2]


def shown(lake: Lake, config: Config, **report: object) -> list[Person]:
    """The people of the page with these keys of [report]."""
    changed = config.model_copy(update={"report": config.report.model_copy(update=report)})
    (block,) = people_section(lake, changed, THIRD).blocks
    return list(block.people)  # type: ignore[union-attr]


def test_users_are_named_by_a_hash_unless_the_configuration_shows_them(simulated: Lake, config: Config) -> None:
    hashed, plain = (shown(simulated, config, user_ids=how) for how in ("hashed", "shown"))
    assert len({person.name for person in hashed}) == len(hashed) == 8
    assert all(person.name.startswith("user ") for person in hashed)
    assert not {person.name for person in hashed} & {person.name for person in plain}
    assert [person.candidates for person in hashed] == [person.candidates for person in plain]


def test_the_configuration_can_choose_the_users(simulated: Lake, config: Config) -> None:
    chosen = [
        row.user_id for row in simulated.day(tables.CANDIDATES, THIRD).orderBy(F.desc("user_id")).limit(3).collect()
    ]
    assert [person.name for person in shown(simulated, config, example_users=tuple(chosen))] == chosen
    for users, user_ids, name in (((*chosen, "nobody"), "shown", "nobody"), (("nobody",), "hashed", "user 18d54139")):
        report = config.report.model_copy(update={"example_users": users, "user_ids": user_ids})
        *_, note = people_section(simulated, config.model_copy(update={"report": report}), THIRD).blocks
        assert isinstance(note, Missing)
        assert note.text.startswith(f"There are no candidates of {THIRD} of {name}")
        assert ("nobody" in note.text) == (user_ids == "shown")


def test_users_of_a_sample_have_histories(simulated: Lake, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small lake's files have one row group, so that each contributes the beginning of it."""
    monkeypatch.setattr(people, "MAX_USERS", 50)
    monkeypatch.setattr(rows, "BATCH_ROWS", 10)
    found = shown(simulated, config)
    assert found
    assert all(person.history for person in found)


def test_a_candidate_names_the_click_that_it_is_like(
    simulated: Lake, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = {row.item_id: np.array(row.embedding) for row in simulated.day(tables.ITEM_EMBEDDINGS, THIRD).collect()}
    indices = {row.item_index: row.item_id for row in simulated.day(tables.ITEM_EMBEDDINGS, THIRD).collect()}
    histories = {row.user_id: row.history for row in simulated.day(tables.USER_HISTORIES, THIRD).collect()}
    (person, *_) = [each for each in shown(simulated, config) if each.history]
    (candidate, *_) = [item for item in person.candidates if "two_tower" in item.detail]
    clicked = [indices[index] for index in histories[person.name] if index in indices]
    cosine = max(float(vectors[item] @ vectors[candidate.item_id]) for item in clicked)
    assert candidate.reason.startswith("like ")
    assert candidate.reason.removeprefix("like ").split(" ")[0] in clicked
    assert candidate.reason.endswith(f"({cosine:.2f})")
    monkeypatch.setattr(people, "MAX_ITEMS", 1)  # a catalogue whose vectors are too many to read
    assert not any(item.reason for each in shown(simulated, config) for item in each.candidates)


def test_the_nearest_click_is_the_one_with_the_largest_cosine() -> None:
    clicks = {"a": np.array([1.0, 0.0]), "b": np.array([0.6, 0.8]), "c": np.array([-1.0, 0.0])}
    assert nearest_click(np.array([0.0, 1.0]), clicks) == ("b", pytest.approx(0.8))


def test_titles_declared_on_an_existing_lake_are_those_of_items_that_land_later(
    simulated_copy: Lake, config: Config
) -> None:
    """The tables were written without these columns, which the next day adds."""
    lake, day = simulated_copy, DAYS[3]
    report = config.report.model_copy(update={"item_title": "title", "item_picture": "picture"})
    changed = config.model_copy(update={"report": report})
    first, second = [
        row.item_id for row in lake.day(tables.item_snapshot(config), THIRD).orderBy("item_id").limit(2).collect()
    ]
    assert item_texts(lake, changed, THIRD, [first]) == {first: ItemText()}
    landed = tables.items(changed)
    previous = lake.read(tables.items(config)).where(F.col("item_id").isin(first, second)).dropDuplicates(["item_id"])
    texts = {"title": F.concat(F.lit("[The] "), "item_id"), "picture": F.lit("https://example.org/1.png")}
    unsafe = F.when(F.col("item_id") == second, F.lit("javascript:alert(1)")).otherwise(F.col("picture"))
    new = previous.withColumns(texts).withColumn("picture", unsafe).withColumn("ds", F.lit(day))
    lake.overwrite_days(landed, [day], new.select(landed.columns))
    build_snapshots.build(lake, changed, day, "item")
    assert item_texts(lake, changed, day, [first, second]) == {
        first: ItemText(f"[The] {first}", "https://example.org/1.png"),
        second: ItemText(f"[The] {second}", ""),
    }
    assert lake.day(tables.item_snapshot(changed), day).where("title is null").count() > 0
    # taken back: the stored columns are not read any more, and later days are written without them
    assert item_texts(lake, config, day, [first]) == {}
    assert lake.day(tables.item_snapshot(config), day).columns == tables.item_snapshot(config).columns
    assert (
        build_snapshots.build(lake, config, day + dt.timedelta(days=1), "item")
        == lake.day(tables.item_snapshot(config), day).count()
    )
    assert (
        lake.day(tables.item_snapshot(changed), THIRD).count() == lake.day(tables.item_snapshot(changed), day).count()
    )
