"""The project's modules and what they import, read from the source: the basis of the architecture tests."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a file: `jobs/lake/__init__.py` is `jobs.lake`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(text: str, name: str = "", *, is_package: bool = False) -> set[str]:
    """The dotted names that the source of module `name` imports: `a.b` for `import a.b` and for `from a import b`.

    Counts imports inside functions and under TYPE_CHECKING, too, and resolves relative ones.
    """
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name, is_package=is_package)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def import_graph(root: Path, folders: Iterable[str]) -> dict[str, set[str]]:
    """The project's modules in `folders`, each with the project's modules that it imports.

    `import a.b` imports the module a.b; the packages above it, which Python imports too, do not count.
    """
    paths = {module_name(path, root): path for folder in folders for path in (root / folder).rglob("*.py")}
    graph = {}
    for name, path in paths.items():
        imported = imports_of(path.read_text("utf-8"), name, is_package=path.stem == "__init__")
        graph[name] = {module for each in imported if (module := _module(each, paths))} - {name}
    return graph


def cycles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others: Tarjan's algorithm."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def functions_of(text: str) -> Iterator[tuple[str, int]]:
    """The name of every function of a source, and its number of lines without decorators and docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            doc = node.body[0] if ast.get_docstring(node) is not None else None
            doc_lines = 0 if doc is None or doc.end_lineno is None else doc.end_lineno - doc.lineno + 1
            yield node.name, node.end_lineno - node.lineno + 1 - doc_lines


def _base(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    above = name.split(".")[: len(name.split(".")) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def _module(name: str, modules: Mapping[str, Path]) -> str | None:
    """The module that a dotted name names, or whose attribute it names; None if it is not one of `modules`."""
    while name not in modules and name:
        name = name.rpartition(".")[0]
    return name or None
