"""The address of a webhook: found where the job says it is, and kept out of the file that people pass on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from supervisor.errors import InputError
from supervisor.job.load import ResolvedJob
from supervisor.job.sinks import is_web_address

__all__ = ["webhook_address"]

_WANTED = "an address, as https://host/path, in printable ASCII without blanks"


def webhook_address(resolved: ResolvedJob) -> str | None:
    """The address of the job's webhook; None where it has none.

    Raises:
        InputError: the variable is not set, the file cannot be read, or what they hold is no address.
    """
    settings = None if resolved.job.sinks is None else resolved.job.sinks.webhook
    if settings is None:
        return None
    if settings.url is not None:
        return settings.url.get_secret_value()
    if settings.url_env is not None:
        found = os.environ.get(settings.url_env)
        problem = _problem(resolved, "url_env", f"the variable {settings.url_env}")
        if found is None:
            raise problem("is not set in the environment", f"set it to {_WANTED}")
    else:
        path = Path(os.path.dirname(resolved.source), str(settings.url_file))  # noqa: PTH120  (as for the policy)
        problem = _problem(resolved, "url_file", f"the file {path}")
        try:
            found = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise problem(f"cannot be read ({why})", f"write into it {_WANTED}") from None
    if not is_web_address(found.strip()):
        raise problem("holds no address of a webhook", f"write into it {_WANTED}")
    return found.strip()


def _problem(resolved: ResolvedJob, key: str, what: str) -> Any:
    """What makes an error about a key; it never tells what was found, which may be a secret with a slip in it."""

    def problem(wrong: str, fix: str) -> InputError:
        return InputError(str(resolved.origins.problem(("sinks", "webhook", key), f"{what} {wrong}", fix)))

    return problem
