"""A reverse proxy in front of several servers, with answers as slow as those of a distant server."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx

APP_PATH = "/app/callback"  # the proxy itself responds to requests to this path, as an app would


class SlowProxy:
    """A proxy that sends each request to the next of its servers, and each answer after a delay.

    Use it as a context manager. Set ``ports`` before the first request.

    :param delay_s: seconds between the server's answer and the proxy's.
    :ivar answers: method, path and status of each answer so far.
    """

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.ports: Sequence[int] = ()
        self.answers: list[tuple[str, str, int]] = []
        self._turns = itertools.count()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_port(self) -> int:
        """Return the port of the server that gets the next request."""
        return self.ports[next(self._turns) % len(self.ports)]

    def count_posts(self, path: str) -> int:
        """Return how many POST requests to paths with this beginning were answered."""
        return sum(method == "POST" and seen.startswith(path) for method, seen, _ in self.answers)


def _make_handler(proxy: SlowProxy) -> type[BaseHTTPRequestHandler]:
    class ForwardingHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith(APP_PATH):
                status, headers, content = 200, [("Content-Type", "text/html")], b"<h1>Back in the app</h1>"
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sent = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                url = f"http://127.0.0.1:{proxy.next_port()}{self.path}"
                response = httpx.request(self.command, url, headers=sent, content=body, timeout=30)
                status, headers, content = response.status_code, response.headers.multi_items(), response.content
            time.sleep(proxy.delay_s)
            proxy.answers.append((self.command, self.path, status))
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in {"content-encoding", "content-length", "transfer-encoding", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                """The browser did not wait for the answer."""

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    return ForwardingHandler
