"""The parent process reads jobs and policies, and must never load torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["supervisor.policy", "supervisor.job"])
def test_importing_it_does_not_import_torch(package: str) -> None:
    script = f"import sys, {package}; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
