"""Print why a user has the published list: the clicks, the items nearest to the user's vector, the candidates.

Of each of the nearest items it says what became of it: its rank in the list, or the rule that kept it out. Reads the
publication that readers follow now, and on a local disk starts no Spark session. What it prints is personal.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from jobs.cli.arguments import count_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.serving.explanation import Explanation, explain_user
from jobs.serving.item_texts import ItemText, item_texts
from model.training.processes.lines import say

SHOWN_CLICKS = 20
ITEM_WIDTH = 40  # characters of an id and its title


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--user", required=True, help="user_id, spelled as in the log")
    parser.add_argument(
        "--nearest", type=count_argument, default=20, help="items nearest to the user's vector that are shown (20)"
    )
    return parser


def lines(found: Explanation, texts: Mapping[str, ItemText]) -> Iterator[str]:
    """The explanation as text. texts: of the items that have a title, which follows their id."""

    def item(item_id: str) -> str:
        title = texts[item_id].title if item_id in texts else ""
        return f"{item_id} {title}".rstrip()[:ITEM_WIDTH]

    yield f"user {found.user_id}: publication {found.publication} of {found.ds}, model {found.model_version}"
    if found.set_aside:
        yield f"set aside on {found.ds} with {found.set_aside:,} impressions: its clicks of that day do not count"
    of = f"the last {SHOWN_CLICKS} of " if len(found.history) > SHOWN_CLICKS else ""
    yield f"\nclicks, newest first: {of}{len(found.history):,}; {found.excluded:,} items are excluded because of clicks"
    for item_id, day in found.history[:SHOWN_CLICKS]:
        yield f"  {item(item_id)}" if day is None else f"  {item(item_id):<{ITEM_WIDTH}} {day}"
    yield "\nnearest items by the user's vector, and what became of them"
    for item_id, similarity, outcome in found.nearest.iter_rows():
        yield f"  {similarity:8.4f}  {item(item_id):<{ITEM_WIDTH}} {outcome}"
    if found.nearest.is_empty():
        yield "  the user has no vector"
    yield f"\ncandidates ({found.candidates.height:,}): rank, item, channel, score, channel_score"
    for rank, item_id, source, score, channel_score, _ in found.candidates.iter_rows():
        of_channel = "" if channel_score is None else f"{channel_score:8.4f}"  # lists of older versions have none
        yield f"  {rank:4}  {item(item_id):<{ITEM_WIDTH}} {source:<12} {score:8.4f} {of_channel}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    if args.ds is not None:
        parser.error("--ds must not be given: what is explained is the list that readers follow")
    lake, config = open_lake(args, "explain_user")
    found = explain_user(lake, config, args.user, args.nearest)
    clicked = [item_id for item_id, _ in found.history[:SHOWN_CLICKS]]
    shown = {*clicked, *found.nearest["item_id"], *found.candidates["item_id"]}
    say("\n".join(lines(found, item_texts(lake, config, found.ds, shown))))
    return found.candidates.height


if __name__ == "__main__":
    run(main)
