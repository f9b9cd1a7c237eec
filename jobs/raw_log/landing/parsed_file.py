"""A file's rows in the types of the contract: which are accepted, which refused and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from jobs.lake.queries import materialized
from jobs.lake.tables import QUARANTINE
from jobs.raw_log.files import CORRUPT_ROW, NO_ROW, named
from jobs.raw_log.values import word_for_missing

LONGEST_EXAMPLE = 200  # characters


@dataclass(frozen=True)
class ParsedFile:
    """A file's rows in the types of the contract, with `reason`: why the row is refused, null if it is accepted.

    categories: the columns whose values are categories. condition: the key of the mapping that says which rows of the
    file these are.
    """

    rows: DataFrame
    table: str
    source: str
    columns: list[str]
    categories: tuple[str, ...] = ()
    condition: str = ""
    counted: Observation = field(default_factory=Observation)

    @property
    def accepted(self) -> DataFrame:
        return self.rows.where(F.col("reason").isNull()).select(self.columns)

    @property
    def refused(self) -> DataFrame:
        """Rows (ds, table, reason, source, row) of the table quarantine."""
        labels = {"table": F.lit(self.table), "source": F.lit(self.source)}
        return self.rows.where(F.col("reason").isNotNull()).withColumns(labels).select(QUARANTINE.columns)

    @contextmanager
    def read(self) -> Iterator[ParsedFile]:
        """Read the file to its end, once, and keep its rows until the block ends: the same rows, which can be counted.

        Raises what Spark raises on a file that it cannot read.
        """
        counts = [F.count("reason").alias("refused"), F.count(F.lit(1)).alias("rows")]
        for name, word in self._words().items():
            counts += [F.count(word).alias(f"{name} words"), F.min(word).alias(f"{name} word")]
        with materialized(self.rows.observe(self.counted, *counts)) as made:
            _ = made.count
            yield replace(self, rows=made.rows)

    def refusals(self) -> dict[str, int]:
        """How many rows are refused for each reason. Only within `read`."""
        return {reason: count for reason, (count, _) in self._refusals.items()}

    def example(self, reason: str) -> str:
        """The value of a row that is refused for this reason, as text; empty if it is missing. Only within `read`."""
        row = json.loads(self._refusals[reason][1])
        return str(row.get(CORRUPT_ROW) or row.get(reason.partition(" ")[0]) or "")

    @cached_property
    def _refusals(self) -> dict[str, tuple[int, str]]:
        """By reason, how many rows are refused and the JSON of one."""
        if not self.counted.get["refused"]:
            return {}
        refused = self.rows.where(F.col("reason").isNotNull()).groupBy("reason")
        counts = refused.agg(F.count(F.lit(1)).alias("rows"), F.min("row").alias("row")).collect()  # one per reason
        return {row.reason: (row.rows, row.row) for row in sorted(counts)}

    def read_rows(self) -> int:
        """How many rows the file has. Only within `read`."""
        return int(self.counted.get["rows"])

    def words_for_missing(self) -> dict[str, tuple[int, str]]:
        """By feature: how many accepted values are words such as NA, and one of them. Only within `read`."""
        counted = self.counted.get
        return {name: (count, counted[f"{name} word"]) for name in self._words() if (count := counted[f"{name} words"])}

    def _words(self) -> dict[str, Column]:
        """The words for a missing value among the categories, null for other values and in refused rows."""
        accepted, kinds = F.col("reason").isNull(), {field.name: field.dataType for field in self.rows.schema}
        return {name: F.when(accepted, word_for_missing(named(name), kinds[name])) for name in self.categories}

    def require_accepted_rows(self) -> None:
        """Raises ValueError for a file without a valid row. Only within `read`."""
        refused = self.refusals()
        if sum(refused.values()) == self.read_rows():
            no_row = f"no row fulfils {self.condition}" if self.condition else NO_ROW
            examples = [f"{example!r}" for reason in refused if (example := self.example(reason))]
            such_as = f", such as {', '.join(examples)[:LONGEST_EXAMPLE]}" if examples else ""
            fault = f"every row is refused: {refused}{such_as}" if refused else no_row
            raise ValueError(f"{self.table} {self.source}: {fault}")
