"""The structure of the source tree, read from its text: the rules of the architecture are asked of it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

__all__ = ["SourceTree"]

MODELS = frozenset({"BaseModel", "EventBase", "Exception", "NamedTuple", "Protocol", "RecordModel", "Section"})
"""Bases of classes that only hold data, or that nobody builds."""


class SourceTree:
    """A checkout.

    Args:
        root: holds the packages, and `tests/`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parsed: dict[Path, ast.Module] = {}

    def modules(self, *packages: str) -> list[str]:
        """Every module of some packages, as dotted names; a package's own `__init__` and `__main__` left out."""
        return [self._name(path) for package in packages for path in self._files(package) if path.stem[:2] != "__"]

    def rooms(self) -> set[str]:
        """The packages and modules right below `supervisor`."""
        return {_room(self._name(path)) for path in self._files("supervisor")} - {""}

    def wrong_imports(self, allowed: Mapping[str, Collection[str]]) -> list[str]:
        """Imports from a room that may not be imported from. The package itself resolves its names lazily."""
        return [
            f"{self._name(path)} imports {name}"
            for path in self._files("supervisor")
            if (here := _room(self._name(path)))
            for name in self._imports(path)
            if name.split(".")[0] == "supervisor" and _room(name) not in {here, *allowed.get(here, ())}
        ]

    def importers(self, package: str, *, of: str) -> list[str]:
        """Modules of a package that import from another."""
        found = (path for path in self._files(package) if any(n.split(".")[0] == of for n in self._imports(path)))
        return [self._name(path) for path in found]

    def long_files(self, package: str, most: int) -> dict[str, int]:
        """Files of more lines than that."""
        lengths = {self._name(path): len(path.read_text("utf-8").splitlines()) for path in self._files(package)}
        return {name: lines for name, lines in lengths.items() if lines > most}

    def silent(self, package: str) -> list[str]:
        """Modules without a docstring."""
        return [self._name(path) for path in self._files(package) if not ast.get_docstring(self._tree(path))]

    def wide_constructors(self, most: int) -> dict[str, int]:
        """Classes of `supervisor` whose constructor takes more arguments than that.

        A dataclass counts by its fields, unless it is a record: one without methods of its own.
        """
        found = {}
        for path in self._files("supervisor"):
            for node in ast.walk(self._tree(path)):
                if isinstance(node, ast.ClassDef) and (count := _constructor_width(node)) > most:
                    found[f"{self._name(path)}.{node.name}"] = count
        return found

    def untested(self, packages: Collection[str]) -> dict[str, str]:
        """Modules whose unit-test module is missing, or does not import them."""
        found = {}
        for module in self.modules(*packages):
            package, *inner, last = module.split(".")
            folder = self._root.joinpath("tests", "unit", *(() if package == "supervisor" else (package,)), *inner)
            path = folder / f"test_{last}.py"
            if not path.is_file():
                found[module] = f"there is no {path.relative_to(self._root)}"
            elif not {module, module.rpartition(".")[0]} & set(self._imports(path)):
                found[module] = f"{path.relative_to(self._root)} does not import it"
        return found

    def private_reaches(self, allowed: Collection[str]) -> list[str]:
        """Places in the tests that name an attribute of another object which begins with one underscore."""
        found = []
        for path in self._files("tests"):
            for node in ast.walk(self._tree(path)):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr.startswith("_")
                    and not node.attr.startswith("__")
                    and node.attr not in allowed
                    and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
                    and not _of_torch(node)
                ):
                    found.append(f"{path.relative_to(self._root)}:{node.lineno}: {ast.unparse(node)}")
        return found

    def writers_of(self, *names: str) -> list[str]:
        """Modules that assign to an attribute with one of these names, or to an attribute of it."""
        return [
            self._name(path)
            for path in self._files("supervisor")
            if any(set(names) & _chain(target) for target in _targets(self._tree(path)))
        ]

    def _files(self, package: str) -> list[Path]:
        return sorted((self._root / package).rglob("*.py"))

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self._root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _tree(self, path: Path) -> ast.Module:
        if path not in self._parsed:
            self._parsed[path] = ast.parse(path.read_text(encoding="utf-8"))
        return self._parsed[path]

    def _imports(self, path: Path) -> list[str]:
        """Every module that a file imports, inside functions too, as absolute names."""
        package = self._name(path) if path.name == "__init__.py" else self._name(path).rpartition(".")[0]
        found: list[str] = []
        for node in ast.walk(self._tree(path)):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*above, *([base] if base else [])])
                found += [f"{base}.{alias.name}" if self._is_module(base, alias.name) else base for alias in node.names]
        return found

    def _is_module(self, base: str, name: str) -> bool:
        inner = self._root / Path(*base.split(".")) / name
        return inner.is_dir() or inner.with_suffix(".py").is_file()


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _constructor_width(node: ast.ClassDef) -> int:
    if {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases} & MODELS:
        return 0
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    made = next((each for each in methods if each.name == "__init__"), None)
    if made is not None:
        return len([*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs]) - 1
    if not any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return 0
    own = [each for each in methods if not each.name.startswith("_") and not each.decorator_list]
    own = [each for each in own if not each.name.startswith(("to_", "from_"))]
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return sum("init=False" not in ast.unparse(each) for each in fields) if own else 0


def _targets(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from target.elts if isinstance(target, ast.Tuple) else (target,)
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            yield node.target


def _chain(target: ast.expr) -> set[str]:
    """The names on the way to an attribute: `a.b.c` has `a`, `b` and `c`; a plain name has none."""
    names: set[str] = set()
    inner: ast.expr = target
    while isinstance(inner, ast.Attribute):
        names.add(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name) and names:
        names.add(inner.id)
    return names


def _of_torch(node: ast.Attribute) -> bool:
    return ast.unparse(node).startswith(("torch.", "nn."))
