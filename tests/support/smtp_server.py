"""A mail server on a loopback port that accepts mail, or refuses recipients, and remembers what it received."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Self


@dataclass(frozen=True)
class ReceivedMail:
    """A mail that the server accepted: the envelope, and the message."""

    client_name: str  # of EHLO
    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass
class SmtpServer:
    """A mail server (RFC 5321). Use it as a context manager.

    :param replies: reply to RCPT TO by recipient, such as ``550 no such mailbox``; others are accepted.
    :param quit_reply: reply to QUIT; if it is empty, the connection is closed without one.
    :param tls: the server's TLS context; with it the server offers STARTTLS (RFC 3207) and accepts any password.
    :param delays_s: seconds before the reply to a command, by its verb; that of the greeting is ``""``.
    :param byte_delay_s: seconds before each byte of a reply.
    """

    replies: Mapping[str, str] = field(default_factory=dict)
    quit_reply: str = "221 bye"
    tls: ssl.SSLContext | None = None
    delays_s: Mapping[str, float] = field(default_factory=dict)
    byte_delay_s: float = 0
    received: list[ReceivedMail] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = ThreadingTCPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The value of the setting ``mail_url``."""
        return f"smtp://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _make_handler(server: SmtpServer) -> type[StreamRequestHandler]:
    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError, ssl.SSLEOFError):  # a client that does not wait
                self._run_session()

        def _run_session(self) -> None:
            client_name, sender, recipients = "", "", list[str]()
            time.sleep(server.delays_s.get("", 0))
            self._reply("220 ready")
            while line := self.rfile.readline().decode("latin-1").strip():
                verb, _, argument = line.partition(" ")
                time.sleep(server.delays_s.get(verb.upper(), 0))
                match verb.upper():
                    case "EHLO" | "HELO":
                        client_name = argument
                        self._reply("250-server\r\n250-STARTTLS\r\n250 AUTH PLAIN" if server.tls else "250 server")
                    case "STARTTLS":
                        if not self._start_tls():
                            return
                    case "AUTH":
                        self._reply("235 signed in")
                    case "MAIL":
                        sender, recipients = _path(argument), []
                        self._reply("250 ok")
                    case "RCPT":
                        reply = server.replies.get(_path(argument), "250 ok")
                        recipients += [_path(argument)] if reply.startswith("250") else []
                        self._reply(reply)
                    case "DATA":
                        self._reply("354 go on")
                        message = message_from_bytes(self._read_data(), policy=policy.default)
                        assert isinstance(message, EmailMessage)
                        server.received.append(ReceivedMail(client_name, sender, recipients, message))
                        self._reply("250 accepted")
                    case "QUIT":
                        if server.quit_reply:
                            self._reply(server.quit_reply)
                        return
                    case _:
                        self._reply("250 ok")

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def _start_tls(self) -> bool:
            assert server.tls is not None
            self._reply("220 go on")
            try:
                self.connection = server.tls.wrap_socket(self.connection, server_side=True)
            except OSError:  # the client does not trust the certificate
                return False
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            return True

        def _read_data(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                lines.append(line.removeprefix(b"."))
            return b"".join(lines)

        def _reply(self, text: str) -> None:
            reply = f"{text}\r\n".encode()
            for piece in [bytes([byte]) for byte in reply] if server.byte_delay_s else [reply]:
                time.sleep(server.byte_delay_s)
                self.wfile.write(piece)

    return Handler


def _path(argument: str) -> str:
    """Return the address in ``FROM:<ada@example.org>``."""
    return argument.partition("<")[2].partition(">")[0]
