"""A connection to a mail server (SMTP, RFC 5321) whose operations end at a deadline, however slow the server is."""

from __future__ import annotations

import io
import smtplib
import socket
import ssl
import time
from typing import Any

from .fetch_limits import Deadline

# Together less than the minute after which a job counts as stopped: the same mail would be sent by another worker.
COMMANDS_TIMEOUT_S = 25.0  # until the server is ready for the message
MESSAGE_TIMEOUT_S = 15.0  # to send the message and to receive the reply to it
_QUIT_TIMEOUT_S = 1.0
_CONNECT_TIMEOUT_S = 10.0  # for each address of the server
_CHUNK_BYTES = 16_384


class SmtpConnection(smtplib.SMTP):
    """A connection to a mail server, with a time limit for all commands together and another one for the message.

    smtplib has a timeout for each socket operation only, so that a server could hold a worker without end.

    :param tls_context: for TLS from the beginning; ``None`` for a connection that STARTTLS may encrypt.
    :raises OSError: if the server cannot be reached in time, or does not accept the connection. Each command raises it,
        too, when the time is over.
    """

    def __init__(self, host: str, port: int, client_name: str, tls_context: ssl.SSLContext | None) -> None:
        self._deadline = Deadline.within(COMMANDS_TIMEOUT_S)
        self._tls_context = tls_context
        super().__init__(host, port or (smtplib.SMTP_SSL_PORT if tls_context else smtplib.SMTP_PORT), client_name)

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> tuple[int, bytes]:
        timeout_s = min(_CONNECT_TIMEOUT_S, self._deadline.remaining_s())
        connection = socket.create_connection((host, port), timeout_s, source_address)
        try:
            connection.settimeout(self._deadline.remaining_s())
            if self._tls_context:
                connection = self._tls_context.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise
        self.sock, self.file = connection, None
        return self.getreply()

    def send(self, s: Any) -> None:
        data = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        for start in range(0, len(data), _CHUNK_BYTES):  # a TLS socket has the timeout for each record
            if self.sock:
                self.sock.settimeout(self._deadline.remaining_s())
            super().send(data[start : start + _CHUNK_BYTES])

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock:
            self.file = io.BufferedReader(_DeadlineReader(self))
        reply = super().getreply()
        if self.sock:  # for the TLS handshake that may follow; the reply counts even if the time is over now
            self.sock.settimeout(max(self._deadline.ends_at - time.monotonic(), 0.001))
        return reply

    def receive(self, buffer: memoryview) -> int:
        """Read bytes that the server has sent into a buffer, and return their number; 0 at the end of the stream.

        :raises TimeoutError: if there are none before the deadline.
        """
        if self.sock is None:
            return 0
        self.sock.settimeout(self._deadline.remaining_s())
        return self.sock.recv_into(buffer)

    def data(self, msg: Any) -> tuple[int, bytes]:
        self._deadline = Deadline.within(MESSAGE_TIMEOUT_S)
        return super().data(msg)

    def quit(self) -> tuple[int, bytes]:
        """End the session. It takes a second at most: the server has replied to the message before."""
        self._deadline = Deadline.within(_QUIT_TIMEOUT_S)
        return super().quit()


class _DeadlineReader(io.RawIOBase):
    """The replies of a mail server as a file. Each read ends at the deadline of the connection."""

    def __init__(self, connection: SmtpConnection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive(memoryview(buffer))
