"""Why a connection to PostgreSQL failed, without what an error of libpq may quote of the URL and its password."""

from __future__ import annotations

import re
from difflib import get_close_matches

INVALID_URL = (
    "database_url is not a URL like sqlite:///path or postgresql://user:password@host:5432/name: percent-encode the "
    "user and the password, such as %40 for @, and name several hosts as in "
    "postgresql://user@/name?host=a,b&port=5432,5432"
)
_find_server_problem = re.compile(r"connection to server .+? failed: (.+)").search
_find_unknown_parameter = re.compile(r'invalid URI query parameter: "(.*)"').match
_is_quoted_value = re.compile(r'(?<!option )"[^"]*"')  # and not the name of an option


def describe_url_problem(cause: Exception) -> str:
    """Return a sentence about a URL that libpq cannot parse.

    A parameter with an unknown name may be a part of a password, so that only the name of a similar one is shown.
    """
    from psycopg import pq

    parameter = _find_unknown_parameter(str(cause))
    if parameter is None:
        return INVALID_URL
    names = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    similar = get_close_matches(parameter[1], names, 1)
    suggestion = f"; did you mean {similar[0]}?" if similar else ": percent-encode a ? in the password as %3F"
    return f"database_url has an unknown parameter{suggestion}"


def describe_connection_problem(cause: Exception, *, has_several_hosts: bool = False) -> str:
    """Return why there is no connection, such as ``Connection refused`` or the server's error message.

    :param has_several_hosts: whether the URL names several hosts; the error is then about the last one only.
    """
    text = str(cause)
    _, fatal, message = text.partition("FATAL:")
    line = (message if fatal else text).strip().partition("\n")[0]
    if fatal:
        return line
    if has_several_hosts:
        return "no host responds that can be written"
    if problem := _find_server_problem(line):
        return problem[1]
    if line.startswith("failed to resolve host"):  # which is a part of the password if that contains an @
        return "its host name cannot be resolved"
    if line.startswith("connection is bad: "):  # libpq cannot use a value in the URL
        return _is_quoted_value.sub("...", line.removeprefix("connection is bad: "))
    return "no response"
