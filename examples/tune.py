"""A short search for settings, what it found, and the next day with it.

    .venv/bin/python examples/tune.py --lake examples/out/lake      # made by own_log.py

The search reads the tables of one day and the days before it, publishes nothing and writes tuning/<ds>/ into the lake.
Its overlay is a configuration: given after your own, it replaces the settings that were searched. A person would look
at tuning/<ds>/index.html first, and take the settings over with `batch-recall adopt-tuning`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

CONFIG, SPACE = (Path(__file__).with_name(name) for name in ("own_log.toml", "tune.toml"))
SEARCHED_DAY, NEXT_DAY = "2026-01-30", "2026-01-31"


def run_command(*words: object) -> None:
    """Run `batch-recall WORDS`. Raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-m", "batch_recall", *map(str, words)], check=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, default=Path("examples/out/lake"), help="default: examples/out/lake")
    parser.add_argument(
        "--trials", type=int, default=4, help="50 and more for settings that you mean to use (default: 4)"
    )
    args = parser.parse_args(argv)
    shared = ("--lake", args.lake, "--config", CONFIG)
    few = ("--trials", args.trials, "--seeds", 2)
    run_command("tune-two-tower", *shared, "--config", SPACE, "--ds", SEARCHED_DAY, *few)
    overlay = args.lake / "tuning" / SEARCHED_DAY / "overlay.toml"
    print(overlay.read_text("utf-8"), flush=True)  # before the lines of the next command
    run_command("run-day", *shared, "--config", overlay, "--ds", NEXT_DAY)


if __name__ == "__main__":
    main()
