"""What a person does about a user error, and the page that says more: one table for all of them.

An error is looked up by its code (`DayStopped`), by its class, and by the folder of the code that raised it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CODE = Path(__file__).resolve().parents[2]  # the checkout, site-packages, or the zip of `make dist`
AGAIN = "run the same command again"
READ_AGAIN = "correct the file, or the option or key that names it, and run the same command again"
LAND_AGAIN = "correct the file, or map its columns, and run the same command again"
REBUILD = "run the day again from the job that builds it: run-day --from JOB"
SCORE_AGAIN = "run the day again from the model on: run-day --from build_user_embeddings"
OPERATIONS, PUBLICATION, CONTRACT = "docs/operations.md", "docs/publication.md", "docs/data-contract.md"
DEPLOY = "docs/deploy.md#2-code-on-the-cluster"
STOPPED, RANGES = f"{OPERATIONS}#a-day-that-stops", f"{OPERATIONS}#running-days-again-and-ranges-of-days"
FAULTS, DAMAGED, FEATURES = (
    f"{OPERATIONS}#faults-that-are-handled", "docs/damaged-tables.md", f"{OPERATIONS}#adding-or-changing-a-feature",
)  # fmt: skip


class Advice(NamedTuple):
    """do: what a person does; None if the message says it. see: a page of the documentation, with a heading."""

    do: str | None
    see: str


CODES = {
    "empty_day": Advice("land the log of the day with ingest-logs, and run the day", STOPPED),
    "no_clicks": Advice("if clicks are missing, land them with ingest-logs and run the day again", STOPPED),
    "one_user": Advice("if the log is incomplete, land it again with ingest-logs and run the day again", STOPPED),
    "one_item": Advice("if the log is incomplete, land it again with ingest-logs and run the day again", STOPPED),
    "all_set_aside": Advice("raise log.max_impressions_per_user, and run the day again", STOPPED),
    "not_reconciled": Advice(None, STOPPED),
    "day_not_run": Advice("run the days in order: run-day --ds FIRST --last LAST", RANGES),
    "day_open": Advice("wait until the day has ended", STOPPED),
    "gate": Advice("look at the report of the day, and do what it says of the rule", f"{PUBLICATION}#the-gate"),
}  # fmt: skip
CLASSES = {
    "NoSuchLake": Advice("check --lake; ingest-logs makes a lake when its first day lands", "docs/your-log.md"),
    "NoSuchDay": Advice("run the job that builds it, or the whole day with run-day", RANGES),
    "MissingColumns": Advice(LAND_AGAIN, f"{CONTRACT}#input-ingest_logs"),
    "SchemaMismatch": Advice("give the --config with which the lake was built, or rebuild the tables", FEATURES),
    "FeaturesNotBuilt": Advice(None, FEATURES),
    "CheckFailed": Advice("correct what the rule found, and run the job again", f"{CONTRACT}#checks"),
    "TableDamaged": Advice(None, DAMAGED),
    "DataFileDamaged": Advice("build the day again, or restore the file", DAMAGED),
    "PinnedFileDamaged": Advice("build the day again, or restore the file", DAMAGED),
    "NotRepairable": Advice("restore the table from a copy, or land and build its days again", DAMAGED),
    "SparkNotStarted": Advice("install Java 17 and set JAVA_HOME; make fetches Delta's JARs", DEPLOY),
    "JvmNotStarted": Advice(f"look at that message: memory, a download of JARs, --master; then {AGAIN}", FAULTS),
    "UnsafeLogStore": Advice(None, "docs/object-stores.md#several-drivers"),
    "PublicationConflict": Advice("look at what was published before you repeat a rollback", FAULTS),
    "WriteConflict": Advice(f"{AGAIN} after the other run has ended", FAULTS),
    "DiskFull": Advice(f"free some space, and {AGAIN}", FAULTS),
    "TargetUnavailable": Advice(f"check that the target runs and can be reached, and {AGAIN}", f"{PUBLICATION}#export"),
    "ExportConflict": Advice(None, f"{PUBLICATION}#export"),
    "NotPublishable": Advice(None, f"{PUBLICATION}#publication"),
    "SearchIsRunning": Advice("wait until the other search has ended", "docs/recall.md"),
    "TrainingFailed": Advice("the trainer's own error is above", f"{OPERATIONS}#training"),
    "TrialFailed": Advice(None, "docs/recall.md"),
    "RecallNotReached": Advice("raise the limits in [index], or lower index.recall_target", "recall.toml"),
    "StaleProbabilities": Advice(None, RANGES),
    "VersionMismatch": Advice(SCORE_AGAIN, RANGES),
    "ArtifactCorrupt": Advice(REBUILD, RANGES),
    "SettingsNotChosen": Advice(None, "docs/recall.md#taking-the-settings-over"),
}  # fmt: skip
# By the folder or file that raised the error; the innermost frame that is named decides.
PLACES = {
    "jobs/config/mapping.py": Advice("correct [mapping] or --map", "docs/your-log.md#what-a-mapping-says"),
    "jobs/config": Advice("correct the file that --config names", "recall.toml"),
    "jobs/raw_log/mapping": Advice("correct [mapping] or --map", "docs/your-log.md#what-a-mapping-says"),
    "jobs/raw_log/files": Advice(READ_AGAIN, f"{CONTRACT}#files"),
    "jobs/raw_log/contract.py": Advice(LAND_AGAIN, f"{CONTRACT}#input-ingest_logs"),
    "jobs/raw_log/landing": Advice(LAND_AGAIN, f"{CONTRACT}#input-ingest_logs"),
    "jobs/serving/rollback.py": Advice(None, f"{PUBLICATION}#rollback"),
    "jobs/serving/export/online.py": Advice("correct --to or --model-version", "docs/online.md#versions"),
    "model/towers/online/program.py": Advice(
        "see what torch.export needs of an encoder", "docs/extending.md#an-encoder-of-the-users-history"
    ),
    **dict.fromkeys(
        ("jobs/serving/export/exporting.py", "jobs/serving/export/redis_address.py"),
        Advice("correct --to, or [export] in the configuration", f"{PUBLICATION}#export"),
    ),
    "jobs/serving/export": Advice(None, f"{PUBLICATION}#export"),
    "jobs/training": Advice("correct [training] in the configuration", f"{OPERATIONS}#training"),
    "jobs/tuning/adoption": Advice(None, "docs/recall.md#taking-the-settings-over"),
    "jobs/tuning": Advice(None, "docs/recall.md"),
    "jobs/inference/eligibility.py": Advice(
        "change the key, and run the same command again", "docs/recall.md#fresh-items"
    ),
    "jobs/inference": Advice(None, RANGES),
}
ENVIRONMENT = Advice(AGAIN, FAULTS)  # a killed JVM, a lost executor, an unresponsive store


def advice_for(error: BaseException) -> Advice | None:
    """What a person does about a user error; None if nothing is known beyond its message."""
    names = [getattr(error, "code", None), *(kind.__name__ for kind in type(error).__mro__)]
    if "NoSuchDay" in names and (job := _writer(str(error))):
        return Advice(f"run {job} of the day, or the whole day with run-day", RANGES)
    found = next((advice for name in names if (advice := (CODES | CLASSES).get(str(name)))), None)
    return found or next((advice for place in _places(error) if (advice := PLACES.get(place))), None)


def _writer(message: str) -> str | None:
    """The job that writes the table whose day is missing; the message of a NoSuchDay ends with the table's path."""
    from jobs.lake.tables.writers import WRITERS  # the tables, which the start of a program need not import

    return WRITERS.get(message.rpartition("/")[2])


def lines(advice: Advice | None) -> list[str]:
    """The lines that follow the message of an error."""
    if advice is None:
        return []
    return [*([f"  what to do: {advice.do}"] if advice.do else []), f"  documented in {advice.see}"]


def fields(advice: Advice | None) -> dict[str, str]:
    """The same for programs: `do` and `see`."""
    return {} if advice is None else {"see": advice.see, **({"do": advice.do} if advice.do else {})}


def _places(error: BaseException) -> Iterator[str]:
    """The files of the code that raised an error, innermost first, each followed by the folders that contain it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(CODE):
            inside = path.relative_to(CODE)
            yield from (folder.as_posix() for folder in (inside, *inside.parents))
