"""Put the published lists where ranking looks them up: into Redis, or into a folder as Parquet or JSON lines.

Exports what readers of the lake follow now: one publication, whole. Its lists are written beside those of the last
export, and then one write makes readers follow them. A run that was killed is continued by the next one. A publication
that is there already is not written again, and a rollback to an earlier export only moves the pointer. Earlier exports
are removed then, except the newest ones (`export.keep_versions`) without users who were forgotten since.

--to redis://HOST:PORT/DB or rediss://: keys under `export.prefix`. Give user and password in the variables
BATCH_RECALL_REDIS_USERNAME and BATCH_RECALL_REDIS_PASSWORD, because command lines can be seen by others.
--to FOLDER: a path or any Hadoop URI. What readers find is described in docs/publication.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from jobs.cli.arguments import count_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config, validation_errors
from jobs.config.outputs import Export, Format
from jobs.serving.export.exporting import export, open_target


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--to", dest="target", help="redis://HOST:PORT/DB or a folder (default: export.target)")
    parser.add_argument(
        "--format",
        choices=get_args(Format),
        help="json or hash in Redis, parquet or jsonl in a folder (default: export.format)",
    )
    parser.add_argument("--prefix", help="of all keys in Redis (default: export.prefix)")
    for name, text in (
        ("batch-users", "lists that are sent to Redis at once"),
        ("keep-versions", "exports that stay in the target"),
    ):
        parser.add_argument(f"--{name}", type=count_argument, help=f"{text} (default: export.{name.replace('-', '_')})")
    parser.add_argument(
        "--ttl-hours", type=int, help="hours after which lists in Redis expire (default: export.ttl_hours)"
    )
    return parser


def settings(args: argparse.Namespace, config: Config) -> Export:
    """The section [export] with the values of the command line. Raises ValueError for a value that is not allowed."""
    given = {name: value for name in Export.model_fields if (value := getattr(args, name)) is not None}
    with validation_errors("export: "):
        return Export.model_validate({**config.export.model_dump(), **given})


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    if args.ds is not None:
        parser.error("--ds must not be given: what is exported is the publication that readers follow")
    lake, config = open_lake(args, "export_candidates")
    wanted = settings(args, config)
    target, format_ = open_target(lake, wanted)
    return export(lake, target, format_, wanted.keep_versions)


if __name__ == "__main__":
    run(main)
