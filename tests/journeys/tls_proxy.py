"""A reverse proxy that terminates TLS and adds the client's address to ``X-Forwarded-For``."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx

from valetkey.cli.certificate import ensure_self_signed_certificate

CLIENT_ADDRESS = "203.0.113.7"  # the proxy adds it for every client


class TlsProxy:
    """Proxy from ``https://localhost:port`` to a port of 127.0.0.1 with plain HTTP."""

    def __init__(self, folder: Path, upstream_port: int) -> None:
        certificate, key = ensure_self_signed_certificate(folder, ["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(upstream_port))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.certificate = certificate
        self.url = f"https://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _make_handler(upstream_port: int) -> type[BaseHTTPRequestHandler]:
    class ForwardingHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            forwarded_for = self.headers.get("X-Forwarded-For")
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            headers["X-Forwarded-For"] = f"{forwarded_for}, {CLIENT_ADDRESS}" if forwarded_for else CLIENT_ADDRESS
            url = f"http://127.0.0.1:{upstream_port}{self.path}"
            response = httpx.request(self.command, url, headers=headers, content=body, timeout=30)
            self.send_response(response.status_code)
            for name, value in response.headers.multi_items():
                if name not in {"content-encoding", "content-length", "transfer-encoding", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    return ForwardingHandler
