"""A small log of its own shape, made here: from files to published lists, and the list of one reader.

    .venv/bin/python examples/own_log.py --folder FOLDER

Writes views.parquet, clicks.csv and articles.csv to FOLDER, lands them in FOLDER/lake as own_log.toml maps their
columns to the data contract, and runs three of its four days, the last one up to its publication. The other examples go
on from there. To start again, delete FOLDER (by default examples/out).
"""

import argparse
import datetime as dt
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from batch_recall import read_candidates

CONFIG = Path(__file__).with_name("own_log.toml")
DAYS = pd.date_range("2026-01-28", "2026-01-31", tz="UTC")
READERS, ARTICLES, NOTICES, SHOWN = 300, 150, 20, 10
TOPICS = ["politics", "sports", "culture", "science", "travel", "food"]


def run_command(*words: object) -> None:
    """Run `batch-recall WORDS`. Raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-m", "batch_recall", *map(str, words)], check=True)


def articles() -> pd.DataFrame:
    """130 articles, each about one of six topics, and 20 notices, which nobody clicks."""
    frame = pd.DataFrame({"article": [f"a{number}" for number in range(ARTICLES)]})
    frame["topic"] = [TOPICS[number % len(TOPICS)] for number in range(ARTICLES - NOTICES)] + ["notices"] * NOTICES
    frame["headline"] = frame["topic"].str.title() + ", part " + frame.index.astype(str)
    return frame


def views(day: dt.datetime, random: np.random.Generator) -> pd.DataFrame:
    """One page of ten articles for each reader, at a time of the day; `clicked` mostly on the reader's own topic."""
    reader, slot = np.repeat(np.arange(READERS), SHOWN), np.tile(np.arange(SHOWN), READERS)
    article = np.concatenate([random.choice(ARTICLES, SHOWN, replace=False) for _ in range(READERS)])
    chance = np.where(article % len(TOPICS) == reader % len(TOPICS), 0.6, 0.03) * (article < ARTICLES - NOTICES)
    frame = pd.DataFrame({"slot": slot, "clicked": random.random(len(article)) < chance})
    frame["page"] = [f"{day:%m%d}-{one}" for one in reader]
    frame["view"] = frame["page"] + "-" + frame["slot"].astype(str)
    frame["reader"], frame["article"] = [f"r{one}" for one in reader], [f"a{one}" for one in article]
    frame["shown_at"] = int(day.timestamp()) + np.repeat(random.integers(0, 80_000, READERS), SHOWN)  # s since 1970
    return frame


def write_log(folder: Path) -> None:
    """Write the three files."""
    random = np.random.default_rng(1)
    log = pd.concat([views(day, random) for day in DAYS])
    clicks = log.loc[log["clicked"], ["view", "shown_at"]]
    clicks["clicked_at"] = pd.to_datetime(clicks.pop("shown_at") + 30, unit="s", utc=True)
    log.drop(columns="clicked").to_parquet(folder / "views.parquet", index=False)
    clicks.to_csv(folder / "clicks.csv", index=False)
    articles().to_csv(folder / "articles.csv", index=False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("examples/out"), help="default: examples/out")
    folder = parser.parse_args(argv).folder
    if (folder / "lake").exists():
        parser.error(f"{folder / 'lake'} must not exist: delete it, or give another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_log(folder)
    first, second, third, fourth = DAYS.date
    shared = ("--lake", folder / "lake", "--config", CONFIG)
    files = ("--impressions", folder / "views.parquet", "--clicks", folder / "clicks.csv")
    files += ("--items", folder / "articles.csv")
    run_command("ingest-logs", *shared, "--ds", first, "--last", fourth, *files)
    run_command("run-day", *shared, "--ds", first, "--last", second, "--tables-only")
    run_command("run-day", *shared, "--ds", third)
    best = (
        read_candidates(str(folder / "lake"), ["r0"]).head(5).merge(articles(), left_on="item_id", right_on="article")
    )
    print(best[["rank", "score", "headline"]].to_string(index=False))


if __name__ == "__main__":
    main()
