"""The JSON Schema of policy files, for editors and for `supervisor policy schema`."""

from __future__ import annotations

from typing import Any

from supervisor.policy.model import RecoveryPolicy

__all__ = ["policy_json_schema"]


def policy_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a policy file, with a description of every key."""
    schema = RecoveryPolicy.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
