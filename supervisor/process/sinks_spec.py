"""What the parent tells the process of the sinks, and what that one tells the parent: JSON, one line each."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from supervisor.config.origins import refuse
from supervisor.job import ResolvedJob, Sinks, webhook_address
from supervisor.sinks.choice import missing_package

__all__ = ["SinksSpec", "SinksWord"]


class SinksSpec(BaseModel):
    """Which sinks to feed, and with which run.

    Attributes:
        sinks: what the job says of them; the address of the webhook aside.
        url: that address.
        run_dir: absolute path of the run directory.
        since: when the parent began, in UTC.
        run_id: the run's name in the events; filled in once it is known.
    """

    model_config = ConfigDict(frozen=True)

    sinks: Sinks
    url: str | None
    run_dir: Path
    since: datetime
    run_id: str = ""

    @classmethod
    def of(cls, resolved: ResolvedJob, since: datetime) -> SinksSpec | None:
        """The spec for a job; None where it names no sink.

        Raises:
            InputError: a package of a sink is not installed, or the address of the webhook cannot be found.
        """
        sinks = resolved.job.sinks
        if sinks is None or not sinks.on():
            return None
        problems = []
        for name in sinks.on():
            if (needs := missing_package(name)) is not None:
                what = f"needs the package {needs.package}, which is not installed"
                fix = f"pip install 'energy-flow-supervisor[{needs.extra}]', or leave the sink out"
                problems.append(resolved.origins.problem(("sinks", name), what, fix))
        refuse(problems)
        url = webhook_address(resolved)
        if sinks.webhook is not None:
            # Said elsewhere; a secret is masked where a model is written.
            webhook = sinks.webhook.model_copy(update={"url": None, "url_env": None, "url_file": "-"})
            sinks = sinks.model_copy(update={"webhook": webhook})
        return cls(sinks=sinks, url=url, run_dir=resolved.run_dir, since=since)

    def to_line(self) -> bytes:
        """The line that it travels as: ASCII, in which a path that is not UTF-8 stays what it is."""
        return json.dumps(self.model_dump(mode="json")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> SinksSpec:
        """The inverse."""
        return cls.model_validate(json.loads(line))


class SinksWord(BaseModel):
    """What the user is to be told of a sink.

    Attributes:
        kind: whether it serves at an address, or has failed.
        sink: its name.
        text: the address, or what happened.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["ready", "failed"]
    sink: str
    text: str
