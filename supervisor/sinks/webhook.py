"""A webhook: chosen events as Slack-compatible JSON, each delivered once, also over restarts and resumes."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Collection

import tenacity

from supervisor.clock import Clock
from supervisor.display import in_one_line, shortened
from supervisor.errors import text_of
from supervisor.events import schema
from supervisor.events.incident_line import names_of
from supervisor.events.narration import Narrator, describe_event
from supervisor.events.schema import Event
from supervisor.sinks.base import AboutRun, Memory, Sink, SinkError

__all__ = ["WebhookSink"]

_LONGEST = 2000
_MOST_KEYS = 10_000
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_DOUBLING = tenacity.wait_exponential(_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)
_MOVED = frozenset({301, 302, 303, 307, 308})
_LONGEST_WISH_SECONDS = 60.0
"""As long as a server may ask to be left alone between two tries."""

_PASSES = frozenset({408, 425, 429})
"""Answers of a server that mean that the same request may be taken later, as those from 500 on do."""

_OF_THE_PROCESS = (
    schema.RunStartedEvent,
    schema.RunResumedEvent,
    schema.RunFinishedEvent,
    schema.RunHaltedEvent,
)
"""Each of these is a new thing, also where a resume comes to the same step again."""

_STAMPS = {"schema_version", "time", "run_id", "rank", "life", "monotonic", "boot"}
"""Beside whatever is in seconds: what does not come out alike when a resume does it again."""


class WebhookSink(Sink):
    """Posts messages, one after the other.

    What a resume does again, to the same step with the same outcome, is the same message, and is not posted again. A
    process that is killed between the answer of the server and the note that it came posts that one message twice; its
    `Idempotency-Key` is the same.

    Args:
        about: the run.
        url: the address; no message of an error holds it.
        events: names of the events that are posted.
        attempts: how often one is tried.
        timeout_seconds: how long one try may take.
        clock: waits between the tries.
    """

    def __init__(
        self, about: AboutRun, url: str, events: Collection[str], attempts: int, timeout_seconds: float, clock: Clock
    ) -> None:
        self._about = about
        self._url = url
        self._events = frozenset(events)
        self._timeout_seconds = timeout_seconds
        self._is_new = True
        # Delivered messages, oldest first.
        self._delivered: dict[str, None] = {}
        pauses = [min(_FIRST_PAUSE_SECONDS * 2**each, _LONGEST_PAUSE_SECONDS) for each in range(attempts - 1)]
        self.patience_seconds = attempts * timeout_seconds + sum(pauses) + 1.0
        # Nothing is where the server says that it is: a redirected message would arrive as a question without a body.
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(attempts),
            wait=_pause,
            sleep=clock.sleep,
            reraise=True,
        )

    def open(self, memory: Memory) -> str | None:
        """Remember what was delivered."""
        self._is_new = "delivered" not in memory
        self._delivered = dict.fromkeys(memory.get("delivered", []))
        return None

    def tell(self, event: Event, *, void: bool) -> None:
        """Post an event that was asked for.

        Raises:
            SinkError: the server took it at none of the attempts; it is not tried again.
        """
        if void or event.event not in self._events or _in_good_order(event):
            return
        if self._is_new and event.time < self._about.since:
            # Switched on by a resume: nobody asks to hear of all that was before.
            return
        key = _key(event)
        if key in self._delivered:
            return
        body = json.dumps({"text": self._text(event)}).encode()
        try:
            self._retrying(self._post, body, key)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SinkError(f"a message about {event.event} was not delivered: {self._why(error)}") from None
        self._delivered[key] = None
        self.cannot_wait = True
        if len(self._delivered) > _MOST_KEYS:
            del self._delivered[next(iter(self._delivered))]

    def flush(self) -> Memory:
        """What was delivered."""
        self.cannot_wait = False
        return {"delivered": [*self._delivered]}

    def _post(self, body: bytes, key: str) -> None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "energy-flow-supervisor",
            "Idempotency-Key": f"{self._about.run_id}-{key}",
        }
        request = urllib.request.Request(self._url, body, headers, method="POST")
        with self._opener.open(request, timeout=self._timeout_seconds) as answer:
            answer.read(1 << 16)

    def _why(self, error: Exception) -> str:
        if isinstance(error, urllib.error.HTTPError):
            moved = ": it wants to be asked at another address" if error.code in _MOVED else ""
            return f"the server answered {error.code}{moved}"
        # The address is a secret: nothing is quoted that may quote it, neither of this side nor of the other.
        if isinstance(error, (http.client.InvalidURL, ValueError)):
            return "nothing can be posted to such an address"
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return "what the server answered is no HTTP"
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return text_of(reason) if isinstance(reason, Exception) else str(reason)

    def _text(self, event: Event) -> str:
        said = in_one_line(shortened(_said(event), _LONGEST))
        # As Slack asks for: nothing of a run is a link or a mention.
        for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            said = said.replace(sign, entity)
        name = in_one_line(self._about.name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"[{name}] {said}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message that is redirected would arrive as a GET, without what it says, and be taken for delivered."""

    def redirect_request(self, *args: object, **named: object) -> None:
        """None: the answer is an error."""


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may be taken later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in _PASSES
    return isinstance(error, (OSError, http.client.HTTPException)) and not isinstance(error, http.client.InvalidURL)


def _pause(state: tenacity.RetryCallState) -> float:
    """Twice as long each time, and as long as the server asks for."""
    error = None if state.outcome is None else state.outcome.exception()
    wish = str(error.headers.get("Retry-After")) if isinstance(error, urllib.error.HTTPError) else ""
    wished = min(float(wish), _LONGEST_WISH_SECONDS) if wish.isascii() and wish.isdigit() else 0.0
    return max(wished, _DOUBLING(state))


def _in_good_order(event: Event) -> bool:
    return isinstance(event, schema.WorkerExitedEvent) and event.classification in schema.ORDERLY_EXITS


def _key(event: Event) -> str:
    """What is the same for the same message: what it says, times aside; of a worker's, and of the run's end, its life.

    A line of the parent's is never written again.
    """
    timed = {name for name in type(event).model_fields if name.endswith("seconds")}
    told = event.model_dump(mode="json", exclude=_STAMPS | timed)
    if isinstance(event, _OF_THE_PROCESS) or event.rank is None:
        told |= {"life": event.life, "time": event.time.isoformat()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


def _said(event: Event) -> str:
    match event:
        case schema.IncidentOpenedEvent():
            names = names_of(tuple(event.signals)) or "flagged"
            return f"incident {event.incident} opened at step {event.step}: {names}"
        case schema.IncidentClosedEvent():
            cost = f"{event.steps_lost} steps lost, {event.seconds:.3g} s"
            return f"incident {event.incident} is over at step {event.step}: cured by {event.cured_by}, {cost}"
        case _:
            lines = [line.text for line in Narrator().tell(event)]
            return "; ".join(lines) or describe_event(event)
