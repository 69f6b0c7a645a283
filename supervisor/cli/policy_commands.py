"""`supervisor policy check | schema | show`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from supervisor.cli.output import print_json, print_text

__all__ = ["policy_app"]

policy_app = typer.Typer(
    help="Check, show and describe recovery policies.", no_args_is_help=True, rich_markup_mode=None
)


@policy_app.command()
def check(
    policy: Annotated[str, typer.Argument(help="The policy file.", metavar="P.yaml", show_default=False)],
) -> None:
    """Validate a policy: each mistake with file, line, key and what to write instead."""
    from supervisor.policy import load_policy

    resolved = load_policy(policy)
    rungs = " -> ".join(rung.action.value for rung in resolved.ladder)
    print_text(f"{policy}: good: {rungs}")


@policy_app.command()
def schema() -> None:
    """The JSON Schema of policies, for editors."""
    from supervisor.policy import policy_json_schema

    print_json(json.dumps(policy_json_schema(), indent=2))


@policy_app.command()
def show(
    policy: Annotated[
        str | None, typer.Argument(help="The policy file; the built-in default without one.", metavar="P.yaml")
    ] = None,
) -> None:
    """The policy as resolved: every default written out."""
    from supervisor.policy import load_policy, resolved_yaml

    print_text(resolved_yaml(load_policy(policy)).rstrip("\n"))
