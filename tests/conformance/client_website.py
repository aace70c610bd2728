"""The web site of a client, on loopback, with documents that a test publishes and changes."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ClientWebsite:
    """Serves documents by path; ``requested_paths`` has the path of each request."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requested_paths: list[str] = []
        website = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                website.requested_paths.append(self.path)
                status, headers, body = website.documents.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def publish(self, path: str, document: Any, status: int = 200, **headers: str) -> str:
        """Serve a document and return its URL. Bytes are sent unchanged, everything else as JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        header_fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.documents[path] = (status, {"Content-Type": "application/json", **header_fields}, body)
        return self.url(path)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
