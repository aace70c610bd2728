"""The logger ``valetkey``: its level, its handler, its formats (text and JSON), and the fields of its records.

Every module logs to this one logger. If the host app has handlers for it, on the logger or on the root logger, they get
the records. Otherwise Valetkey writes them to stderr, which every WSGI server shows or writes to its error log.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from valetkey.protocol.printable import escape_unprintable

LOG_FIELDS = ("reference", "client_id", "user", "network")
_TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_log = logging.getLogger("valetkey")


def set_up_log(level: str, log_format: str) -> None:
    """Give the logger ``valetkey`` a level and a handler, and escape what is not printable in its records.

    The logger belongs to the process: if two apps of one process set it up, the last one decides.

    :param level: name of the level, such as ``WARNING``. Empty: the level that the host has set, else ``INFO``.
    :param log_format: ``text`` or ``json``: the format of what Valetkey writes itself. Handlers of the host have their
        own.
    """
    _log.disabled = False  # logging.config.dictConfig disables the loggers that exist when it is called
    if level:
        _log.setLevel(level.upper())
    elif _log.level == logging.NOTSET:
        _log.setLevel(logging.INFO)
    escape_records(_log)
    _HANDLER.setFormatter(JsonLogFormatter() if log_format == "json" else logging.Formatter(_TEXT_FORMAT))
    if _HANDLER not in _log.handlers:
        _log.addHandler(_HANDLER)


def escape_records(logger: logging.Logger) -> None:
    """Escape what is not printable in the records of a logger, and indent the lines of tracebacks."""
    if _ESCAPE_FILTER not in logger.filters:
        logger.addFilter(_ESCAPE_FILTER)


class JsonLogFormatter(logging.Formatter):
    """Formatter that returns each record as a JSON object in one line, for log collectors.

    Its members are ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, and ``reference``, ``client_id``,
    ``user`` and ``network``, which are ``null`` if unknown. A record of an exception has ``exception`` too.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        members: dict[str, Any] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name, None) for name in LOG_FIELDS},
        }
        if record.exc_info:
            members["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(members)


class _EscapeFilter(logging.Filter):
    """Filter that escapes what is not printable in the arguments and the exception of each record; drops no record.

    It changes the record itself, so that handlers and formatters of the host get the escaped text too. Lines of a
    traceback are indented: no line of it can look like the beginning of another record.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                argument if isinstance(argument, int | float) else escape_unprintable(str(argument))
                for argument in record.args
            )
        if not record.args:
            record.msg = escape_unprintable(str(record.msg))
        for name in LOG_FIELDS:
            if isinstance(value := getattr(record, name, None), str):
                setattr(record, name, escape_unprintable(value))
        if record.exc_info and record.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
            record.exc_text = "\n".join(f"  {escape_unprintable(line)}" for line in lines)
        return True


class _FallbackHandler(logging.Handler):
    """Handler that writes records to stderr, unless the host has a handler for them.

    That is decided for each record, since the host may set up logging after Valetkey.
    """

    def emit(self, record: logging.LogRecord) -> None:
        root_handlers = logging.getLogger().handlers if _log.propagate else []
        if any(handler is not self for handler in (*_log.handlers, *root_handlers)):
            return
        try:
            sys.stderr.write(f"{self.format(record)}\n")  # one write: lines of several processes do not mix
            sys.stderr.flush()
        except Exception:  # as the handlers of the standard library
            self.handleError(record)


_ESCAPE_FILTER, _HANDLER = _EscapeFilter(), _FallbackHandler()
