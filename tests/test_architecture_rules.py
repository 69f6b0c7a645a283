"""Each rule of the architecture finds a tree that breaks it: a small tree, broken once for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.source_tree import SourceTree

GOOD = {
    "supervisor/__init__.py": '"""The package."""',
    "supervisor/low/__init__.py": '"""Below."""',
    "supervisor/low/ground.py": '"""The ground."""\n\nclass Ground:\n    """It."""\n',
    "supervisor/high.py": (
        '"""Above."""\nfrom supervisor.low.ground import Ground\n\n\n'
        "class Part:\n    def __init__(self, a, b, c, d, e, f, g):\n        self.counters = Ground()\n"
    ),
    "energy_flow/model.py": '"""The model."""\nimport torch\n',
    "tests/unit/low/test_ground.py": "from supervisor.low.ground import Ground\n",
    "tests/unit/test_high.py": "import supervisor.high\n",
    "tests/unit/energy_flow/test_model.py": "from energy_flow.model import torch\ntorch._C._own\n",
}
ROOMS: dict[str, set[str]] = {"low": set(), "high": {"low"}}
PACKAGES = ("supervisor", "energy_flow")


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    for name, text in GOOD.items():
        write(tmp_path, name, text)
    return SourceTree(tmp_path)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_sound_tree_breaks_no_rule(tree: SourceTree) -> None:
    assert tree.wrong_imports(ROOMS) == []
    assert tree.rooms() == {"low", "high"}
    assert tree.importers("energy_flow", of="supervisor") == []
    assert tree.long_files("supervisor", 300) == {}
    assert tree.silent("supervisor") == []
    assert tree.wide_constructors(7) == {}
    assert tree.untested(PACKAGES) == {}
    assert tree.private_reaches(()) == []
    assert tree.writers_of("counters") == ["supervisor.high"]
    assert tree.modules(*PACKAGES) == ["supervisor.high", "supervisor.low.ground", "energy_flow.model"]


@pytest.mark.parametrize(
    "text",
    [
        "from supervisor.high import Part",
        "import supervisor.high",
        "from supervisor import high",
        "from ..high import Part",
        "def late():\n    from supervisor.high import Part",
    ],
)
def test_an_import_upwards_is_found_however_it_is_written(tree: SourceTree, tmp_path: Path, text: str) -> None:
    write(tmp_path, "supervisor/low/ground.py", f'"""The ground."""\n{text}\n')
    assert tree.wrong_imports(ROOMS) == ["supervisor.low.ground imports supervisor.high"]


def test_an_import_of_the_package_itself_is_one_too(tree: SourceTree, tmp_path: Path) -> None:
    write(tmp_path, "supervisor/low/ground.py", "from supervisor import __version__\n")
    assert tree.wrong_imports(ROOMS) == ["supervisor.low.ground imports supervisor"]


def test_the_model_may_not_know_of_the_supervisor(tree: SourceTree, tmp_path: Path) -> None:
    write(tmp_path, "energy_flow/model.py", "import supervisor.high\n")
    assert tree.importers("energy_flow", of="supervisor") == ["energy_flow.model"]


def test_a_long_file_and_a_silent_one_are_found(tree: SourceTree, tmp_path: Path) -> None:
    write(tmp_path, "supervisor/high.py", "x = 1\n" * 301)
    assert tree.long_files("supervisor", 300) == {"supervisor.high": 301}
    assert tree.silent("supervisor") == ["supervisor.high"]


EIGHT = "a: int\n    b: int\n    c: int\n    d: int\n    e: int\n    f: int\n    g: int\n    h: int\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("class Part:\n    def __init__(self, a, b, c, d, e, f, *, g, h): ...\n", 8),
        (f"@dataclass(frozen=True)\nclass Part:\n    {EIGHT}    def work(self): ...\n", 8),
        (f"@dataclass(frozen=True)\nclass Part:\n    {EIGHT}", 0),
        (f"@dataclass\nclass Part:\n    {EIGHT}    @property\n    def sum(self): ...\n", 0),
        (f"class Part(NamedTuple):\n    {EIGHT}", 0),
    ],
    ids=["constructor", "dataclass that works", "record", "record with a property", "named tuple"],
)
def test_a_constructor_of_eight_is_found_and_a_record_is_none(
    tree: SourceTree, tmp_path: Path, text: str, count: int
) -> None:
    write(tmp_path, "supervisor/high.py", text)
    assert tree.wide_constructors(7) == ({"supervisor.high.Part": count} if count else {})


def test_a_module_without_a_test_of_its_own_is_found(tree: SourceTree, tmp_path: Path) -> None:
    (tmp_path / "tests/unit/test_high.py").unlink()
    write(tmp_path, "tests/unit/low/test_ground.py", "import supervisor\n")
    assert tree.untested(PACKAGES) == {
        "supervisor.high": "there is no tests/unit/test_high.py",
        "supervisor.low.ground": "tests/unit/low/test_ground.py does not import it",
    }


@pytest.mark.parametrize("text", ["part._secret", "part.open()._secret = 1", "del part._secret[0]"])
def test_a_reach_into_another_object_is_found(tree: SourceTree, tmp_path: Path, text: str) -> None:
    write(tmp_path, "tests/unit/test_high.py", f"import supervisor.high\n{text}\n")
    (found,) = tree.private_reaches(())
    assert found.startswith("tests/unit/test_high.py:2: part")
    assert tree.private_reaches(("_secret",)) == []


@pytest.mark.parametrize("text", ["run.counters.step += 1", "counters.step = 2", "a, run.counters.step = 1, 2"])
def test_another_writer_of_the_counters_is_found(tree: SourceTree, tmp_path: Path, text: str) -> None:
    write(tmp_path, "supervisor/low/ground.py", text)
    assert tree.writers_of("counters") == ["supervisor.high", "supervisor.low.ground"]
