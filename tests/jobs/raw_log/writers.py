"""Writes rows as files in the ways that people do: by pandas, pyarrow, the csv module, json and Spark."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from jobs.lake.tables.table import STRING
from tests.jobs.raw_log.reading import ITEMS

Rows = Sequence[Mapping[str, Any]]
ARROW = {
    "available": pa.bool_(), "published_at": pa.timestamp("us", "UTC"), "position": pa.int32(), "year": pa.float64(),
    "genres": pa.list_(pa.string()), "vector": pa.list_(pa.float32()),
}  # fmt: skip


def arrow(rows: Rows, names: Sequence[str]) -> pa.Table:
    columns = {name: pa.array([row[name] for row in rows], ARROW.get(name, pa.string())) for name in names}
    return pa.table(columns)


def as_text(rows: Rows, names: Sequence[str]) -> list[dict[str, str | None]]:
    """Rows as cells of a CSV file: lists in JSON notation, separated by `|`, or as Python prints them."""
    return [{name: _cell(row[name], number) for name in names} for number, row in enumerate(rows)]


def _cell(value: Any, number: int) -> str | None:
    if not isinstance(value, list):
        return None if value is None else str(value)
    is_plain = value and all(str(part).isalnum() for part in value)
    return "|".join(map(str, value)) if is_plain else json.dumps(value) if number % 2 else str(value)


def by_csv_module(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str], end: str = "\r\n") -> None:
    with open(f"{path}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator=end)
        writer.writeheader()
        writer.writerows(as_text(rows, names))


def by_csv_module_on_linux(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    by_csv_module(spark, path, rows, names, end="\n")


def by_pandas_as_csv(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    pd.DataFrame(as_text(rows, names), columns=list(names)).to_csv(
        f"{path}.csv", encoding="utf-8-sig"
    )  # with its index


def by_pyarrow_as_csv(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    cells = as_text(rows, names)
    table = pa.table({name: pa.array([row[name] for row in cells], pa.string()) for name in names})
    pyarrow.csv.write_csv(table, f"{path}.csv")


def by_spark_as_csv(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    text = StructType([StructField(name, STRING) for name in names])
    frame = spark.createDataFrame([tuple(row[name] for name in names) for row in as_text(rows, names)], text)
    options = {"header": True, "escape": '"', "ignoreLeadingWhiteSpace": False, "ignoreTrailingWhiteSpace": False}
    frame.coalesce(1).write.options(**options).csv(f"{path}-spark")  # type: ignore[arg-type]


def by_json_module(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    lines = [
        json.dumps({name: row[name] for name in names}, default=dt.datetime.isoformat, ensure_ascii=number % 2 == 0)
        for number, row in enumerate(rows)
    ]
    Path(f"{path}.jsonl").write_text("\n".join(lines), "utf-8")


def by_pandas_as_json(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    frame = pd.DataFrame([{name: row[name] for name in names} for row in rows], columns=list(names))
    frame.to_json(f"{path}.jsonl", orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15)


def by_spark_as_json(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    frame = _spark_frame(spark, rows, names).write  # by default it cuts times to milliseconds
    frame.option("timestampFormat", "yyyy-MM-dd HH:mm:ss.SSSSSSXXX").json(f"{path}-spark")


def by_pyarrow(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    pq.write_table(arrow(rows, names), f"{path}.parquet")


def by_spark(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    _spark_frame(spark, rows, names).write.parquet(f"{path}-spark")


def by_pandas(spark: SparkSession, path: Path, rows: Rows, names: Sequence[str]) -> None:
    arrow(rows, names).to_pandas().to_parquet(f"{path}.parquet")  # its times are in nanoseconds


def _spark_frame(spark: SparkSession, rows: Rows, names: Sequence[str]) -> Any:
    fields = {field.name: field for field in ITEMS}
    schema = StructType([fields.get(name, StructField(name, STRING)) for name in names])
    values = [tuple(_in_utc(row[name]) for name in names) for row in rows]
    return spark.createDataFrame(values, schema).withColumn("written_by", F.lit("spark"))


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value


Writer = Callable[[SparkSession, Path, Rows, Sequence[str]], None]
WRITERS: dict[str, list[Writer]] = {
    "csv": [by_csv_module, by_csv_module_on_linux, by_pandas_as_csv, by_pyarrow_as_csv, by_spark_as_csv],
    "jsonl": [by_json_module, by_pandas_as_json, by_spark_as_json],
    "parquet": [by_pyarrow, by_spark],
    "parquet in nanoseconds": [by_pandas],
}
