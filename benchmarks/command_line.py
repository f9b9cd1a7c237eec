"""What the command lines of all benchmarks share: the option `--smoke`, and measuring in a child process."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def benchmark_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with `--smoke` and the benchmark's docstring as its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smoke", action="store_true", help="run the whole path at a tiny size, in seconds; the figures mean nothing"
    )
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None, **smoke_sizes: Any) -> argparse.Namespace:
    """The parsed arguments; with `--smoke` these sizes replace what was given."""
    args = parser.parse_args(argv)
    if args.smoke:
        vars(args).update(smoke_sizes)
    return args


def output_of(module: str, arguments: Sequence[str], *, smoke: bool = False) -> str:
    """Standard output of `python -m MODULE ARGUMENTS`; a smoke run calls its main() in this process."""
    if not smoke:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        importlib.import_module(module).main(arguments)
    return printed.getvalue()
