"""A small server of chat completions on loopback, as good or bad as a test wants it."""

import contextlib
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple


class Status(NamedTuple):
    """A response other than a reply."""

    code: int
    body: str = "{}"
    headers: dict[str, str] = {}


class Raw(NamedTuple):
    """Bytes of a response, in pieces with a pause before each; then the end."""

    pieces: list[bytes]
    pause: float = 0.0


DROP = Raw([])


class Seen(NamedTuple):
    """One request that came."""

    time: float
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return self.body["messages"][0]["content"]


class Server:
    """`say(text, how often it was asked before)` is the reply, or how there is none."""

    def __init__(self, say: Callable[[str, int], Any]):
        self.say, self.seen = say, list[Seen]()
        self.at_a_time = self.most_at_a_time = 0
        self._times, self._lock = Counter(), threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):  # noqa: N802
                with contextlib.suppress(OSError):
                    server.answer(self)

            do_GET = do_POST  # noqa: N815

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(
            target=self._http.serve_forever, args=(0.01,), daemon=True
        ).start()

    def answer(self, handler) -> None:
        with self._lock:
            self.at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        try:
            length = int(handler.headers.get("Content-Length") or 0)
            body = json.loads(handler.rfile.read(length) or b"null")
            seen = Seen(time.monotonic(), handler.path, dict(handler.headers), body)
            with self._lock:
                self.seen.append(seen)
                before, _ = self._times[seen.text], self._times.update([seen.text])
            said = self.say(seen.text, before)
        finally:
            with self._lock:
                self.at_a_time -= 1
        if isinstance(said, Raw):
            for piece in said.pieces:
                time.sleep(said.pause)
                handler.wfile.write(piece)
                handler.wfile.flush()
            handler.close_connection = True
            return
        if not isinstance(said, Status):
            message = {"role": "assistant", "content": said}
            said = Status(200, json.dumps({"choices": [{"message": message}]}))
        raw = said.body.encode()
        handler.send_response(said.code)
        for name, value in (said.headers | {"Content-Length": str(len(raw))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
