"""A web server of the test's own, on this machine, that answers as it is told to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answers", "web_server"]


class Answers:
    """What a server was sent, and with which codes it answers: the last of them again and again.

    Attributes:
        codes: of the answers, in order.
        tried: every request, as JSON.
        taken: those that were answered by 200.
        keys: the `Idempotency-Key` of each request.
        url: the address.
        before: called before each answer.
        headers: of each answer.
        instead: sent in the place of an answer.
    """

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.tried: list[Any] = []
        self.taken: list[Any] = []
        self.keys: list[str | None] = []
        self.url = ""
        self.before: Callable[[], object] = lambda: None
        self.headers: dict[str, str] = {}
        self.instead = b""

    def texts(self) -> list[str]:
        """The texts that were taken."""
        return [each["text"] for each in self.taken]


@contextlib.contextmanager
def web_server(*codes: int) -> Iterator[Answers]:
    """A server that answers with these codes as long as the block lasts."""
    answers = Answers(*codes or (200,))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.tried.append(body)
            answers.keys.append(self.headers["Idempotency-Key"])
            answers.before()
            if answers.instead:
                self.wfile.write(answers.instead)
                return
            code = answers.codes.pop(0) if len(answers.codes) > 1 else answers.codes[0]
            if code == 200:
                answers.taken.append(body)
            with contextlib.suppress(OSError):
                self.send_response(code)
                for name, value in answers.headers.items():
                    self.send_header(name, value)
                self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        answers.url = f"http://127.0.0.1:{server.server_port}/services/T0/SECRET"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield answers
        server.shutdown()
