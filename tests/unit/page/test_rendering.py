from __future__ import annotations

import builtins
import json
from typing import Any

import pytest
from support.page_runs import HOSTILE

from supervisor.errors import InputError
from supervisor.page.rendering import asset, json_for_html, require_extra


def test_json_in_a_page_ends_no_element_and_means_the_same() -> None:
    text = json_for_html({"a": HOSTILE})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": HOSTILE}


def test_a_number_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_html(float("nan"))


def test_the_library_is_the_one_that_the_docs_name() -> None:
    assert "plotly.js (basic - minified) v4.1.1" in asset("plotly-basic.min.js")[:200]
    assert "MIT" in asset("plotly-LICENSE.txt")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"energy-flow-supervisor\[report\]"):
        require_extra()
