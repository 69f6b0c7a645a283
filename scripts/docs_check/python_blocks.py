"""Python of a page: it compiles, and what it takes from this project's packages is there."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator

__all__ = ["wrong_python"]

OURS = ("supervisor", "energy_flow")


def wrong_python(text: str, line: int = 1) -> Iterator[tuple[int, str]]:
    """What is wrong with a block: line and words.

    Args:
        text: the block.
        line: where it begins in its page.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield line + (error.lineno or 1) - 1, f"does not compile: {error.msg}"
        return
    for node in ast.walk(tree):
        place = line + getattr(node, "lineno", 1) - 1
        if isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            yield from ((place, said) for said in _wrong_import(node.module or "", [each.name for each in node.names]))
        elif isinstance(node, ast.Import):
            ours = [each.name for each in node.names if _is_ours(each.name)]
            yield from ((place, said) for name in ours for said in _wrong_import(name, []))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Guard":
            yield from ((place, said) for said in _wrong_arguments(node))
        elif isinstance(node, ast.Attribute) and _guard_lacks(node):
            yield place, f"guard.{node.attr}: a Guard has none"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def _wrong_import(module: str, names: list[str]) -> Iterator[str]:
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        yield f"{module}: cannot be imported: {error}"
        return
    for name in names:
        if not hasattr(found, name):
            try:
                importlib.import_module(f"{module}.{name}")
            except ImportError:
                yield f"from {module} import {name}: there is none"


def _wrong_arguments(call: ast.Call) -> Iterator[str]:
    from supervisor import Guard

    known = inspect.signature(Guard).parameters
    for each in call.keywords:
        if each.arg is not None and each.arg not in known:
            yield f"Guard({each.arg}=...): there is no such argument"


def _guard_lacks(node: ast.Attribute) -> bool:
    """Whether it is `guard.name`, of a name that no guard has."""
    from supervisor import Guard

    if not (isinstance(node.value, ast.Name) and node.value.id == "guard"):
        return False
    return not (hasattr(Guard, node.attr) or f"self.{node.attr}" in inspect.getsource(Guard))
