"""The JSON Schema of a policy, for editors."""

from __future__ import annotations

from supervisor.policy import RecoveryPolicy
from supervisor.policy.schema import policy_json_schema


def test_the_schema_describes_every_key() -> None:
    schema = policy_json_schema()
    for name, section in {"policy": schema, **schema["$defs"]}.items():
        for key, entry in section.get("properties", {}).items():
            described = entry.get("description") or schema["$defs"].get(entry.get("$ref", "")[8:], {}).get(
                "description"
            )
            assert described or key == "action", f"{name}.{key}"
        assert section.get("additionalProperties", False) is False
    assert set(schema["properties"]) == set(RecoveryPolicy.model_fields)
