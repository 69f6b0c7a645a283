from __future__ import annotations

from pathlib import Path

import pytest
from support.page_runs import HOSTILE, eventful

from supervisor.page.gathering import RunData, gather


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder: Path = tmp_path_factory.mktemp("page") / "run"
    eventful(folder)
    return gather(str(folder))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder: Path = tmp_path_factory.mktemp("page") / "<img src=x onerror=alert(9)> 🧨"
    eventful(folder, HOSTILE)
    return gather(str(folder))
