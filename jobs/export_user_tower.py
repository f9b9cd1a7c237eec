"""Put the published user tower where a service embeds users between two days, with the vectors of the eligible items.

Writes one folder for a publication: the tower as a program of torch.export, the vocabularies of its inputs, what each
input is (manifest.json), and the item vectors with their ids. It is written beside that of the last export, and then
one write makes readers follow it. A publication that is there already is not written again, and a rollback to an
earlier export only moves the pointer. Earlier exports are removed then, except the newest ones (`export.keep_versions`)
without users who were forgotten since.

--to FOLDER: a path or any Hadoop URI, for these exports alone. In Python, `batch_recall.OnlineModel` reads it. What
other readers find is described in docs/online.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from jobs.cli.arguments import count_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--to", dest="target", required=True, help="folder of the exports: a path or any Hadoop URI")
    parser.add_argument(
        "--model-version", help="a published model whose last publication is exported (default: what readers follow)"
    )
    parser.add_argument(
        "--keep-versions", type=count_argument, help="exports that stay in the folder (default: export.keep_versions)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    from jobs.serving.export.online import OnlineFolder, export_online  # imported here because it loads torch

    parser = arg_parser()
    args = parser.parse_args(argv)
    if args.ds is not None:
        parser.error("--ds must not be given: what is exported is a publication")
    lake, config = open_lake(args, "export_user_tower")
    folder = OnlineFolder(args.target, lambda: lake.spark)
    return export_online(lake, folder, args.model_version, args.keep_versions or config.export.keep_versions)


if __name__ == "__main__":
    run(main)
