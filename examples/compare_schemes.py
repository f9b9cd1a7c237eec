"""Four schemes of negatives on one lake: what each finds of the clicks of the held-out day.

    .venv/bin/python examples/compare_schemes.py --lake examples/out/lake      # made by own_log.py

The published model has in-batch negatives. Its variants in own_log.toml are trained on the same tables and never
published. All are measured before the last pass, on the clicks of the last day, which the epochs leave out. They share
one temperature; a comparison that is to decide something tunes it for each of them.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import polars as pl

CONFIG = Path(__file__).with_name("own_log.toml")
VARIANTS = ("mns", "cbns", "mixed")
METRICS = ("recall@10", "ndcg")


def measured(lake: Path, ds: str) -> dict:
    """What the training of a day has measured, from the folder of its model. lake: that of a variant, or the lake."""
    versions = pl.read_delta(str(lake / "model_versions")).filter(pl.col("ds").cast(str) == ds)
    model = lake / "models" / versions["model_version"].item() / "model.json"
    return json.loads(model.read_text("utf-8"))["metrics"]


def comparison(lake: Path, ds: str) -> pl.DataFrame:
    """One row per scheme, and one for popularity."""
    of_scheme = {name: measured(lake / "variants" / name, ds) for name in VARIANTS}
    main_model = measured(lake, ds)
    rows = {"popularity": main_model["popularity"], "in_batch": main_model["validation"]}
    rows |= {name: metrics["validation"] for name, metrics in of_scheme.items()}
    columns = {metric: [round(row[metric], 3) for row in rows.values()] for metric in METRICS}
    return pl.DataFrame({"scheme": list(rows), **columns})


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, default=Path("examples/out/lake"), help="default: examples/out/lake")
    parser.add_argument("--ds", default="2026-01-30", help="a day with a model (default: 2026-01-30)")
    args = parser.parse_args(argv)
    for name in VARIANTS:
        words = ["--lake", str(args.lake), "--config", str(CONFIG), "--ds", args.ds, "--variant", name]
        subprocess.run([sys.executable, "-m", "batch_recall", "train-two-tower", *words], check=True)
    print(comparison(args.lake, args.ds))


if __name__ == "__main__":
    main()
