"""The logger ``valetkey`` has a level and a handler, and its handler stays silent if the host has one."""

from __future__ import annotations

import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from valetkey.activity.log import JsonLogFormatter, set_up_log
from valetkey.activity.refusal_log import RequestInfo, log_refusal
from valetkey.protocol.errors import InvalidGrant

LOG = logging.getLogger("valetkey")


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    """Put back handlers, filters and level of the logger after the test."""
    saved = (LOG.handlers[:], LOG.filters[:], LOG.level)
    yield
    LOG.handlers, LOG.filters, LOG.level = saved
    LOG.disabled = False


def remove_handlers() -> None:
    """Remove all handlers, also those of pytest, so that logging is as in a new process of a WSGI server."""
    logging.getLogger().handlers, LOG.handlers, LOG.filters, LOG.level = [], [], [], logging.NOTSET


def test_records_are_written_to_stderr_from_level_info_on(capsys: pytest.CaptureFixture[str]) -> None:
    remove_handlers()
    set_up_log("", "text")

    LOG.info("refused %s", "invalid_grant")
    LOG.debug("nothing to see")

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO valetkey: refused invalid_grant"]


def test_two_apps_in_one_process_write_each_record_once(capsys: pytest.CaptureFixture[str]) -> None:
    remove_handlers()
    set_up_log("", "text")
    set_up_log("", "text")

    LOG.info("once")

    assert capsys.readouterr().err.count("once") == 1


@pytest.mark.parametrize("name", ["", "valetkey"])
@pytest.mark.parametrize("is_before", [True, False])
def test_a_handler_of_the_host_gets_each_record_once_and_valetkey_writes_nothing(
    name: str, is_before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    remove_handlers()
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]  # the handler of this test collects the records
    for step in ("host", "valetkey") if is_before else ("valetkey", "host"):
        if step == "host":
            logging.getLogger(name or None).addHandler(handler)
        else:
            set_up_log("", "text")

    LOG.info("once")
    logging.getLogger().removeHandler(handler)

    assert [record.getMessage() for record in records] == ["once"]
    assert capsys.readouterr().err == ""


def test_the_level_that_the_host_has_set_stays_unless_the_setting_has_another() -> None:
    remove_handlers()
    LOG.setLevel(logging.ERROR)

    set_up_log("", "text")
    assert LOG.level == logging.ERROR

    set_up_log("debug", "text")
    assert LOG.level == logging.DEBUG


def test_a_logging_configuration_that_disables_existing_loggers_does_not_silence_refusals(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remove_handlers()
    logging.config.dictConfig({"version": 1})
    assert LOG.disabled

    set_up_log("", "text")
    LOG.info("heard")

    assert "heard" in capsys.readouterr().err


def test_a_json_line_has_the_fields_of_the_record_and_null_for_those_that_are_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remove_handlers()
    set_up_log("", "json")

    LOG.info("refused %s", "x\ny", extra={"reference": "r1", "client_id": "c\u202e1"})

    [line] = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "INFO",
        "logger": "valetkey",
        "message": "refused x\\ny",
        "reference": "r1",
        "client_id": "c\\u202e1",
        "user": None,
        "network": None,
    }


def test_an_exception_is_part_of_the_one_json_line() -> None:
    set_up_log("", "json")
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = LOG.makeRecord("valetkey", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    LOG.filter(record)

    line = JsonLogFormatter().format(record)

    assert "\n" not in line
    assert "ValueError: a" in json.loads(line)["exception"]


FORGED = "x\n2026-01-01 00:00:00,000 INFO valetkey: forged\x1b[2K\u202e\u2028\x9b\ud800"


def test_what_is_not_printable_is_escaped_in_arguments_messages_and_exceptions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remove_handlers()
    set_up_log("", "text")

    LOG.info("refused %s", FORGED)
    LOG.info("%s failed, attempt %d", ValueError(FORGED), 1)
    LOG.info(FORGED)
    try:
        raise ValueError(FORGED)
    except ValueError:
        LOG.exception("failed")

    lines = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert all(line.isprintable() for line in lines)
    assert len([line for line in lines if " valetkey: " in line and not line.startswith(" ")]) == 4


def test_a_host_that_formats_the_log_itself_gets_escaped_fields(capsys: pytest.CaptureFixture[str]) -> None:
    remove_handlers()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s client=%(client_id)s"))
    LOG.addHandler(handler)
    set_up_log("", "text")

    LOG.info("refused", extra={"client_id": "a\nb"})

    assert capsys.readouterr().err == "refused client=a\\nb\n"


@pytest.mark.parametrize("user", [7, UUID(int=7)])
def test_a_user_id_of_the_host_that_is_no_text_is_logged(user: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valetkey")

    log_refusal(InvalidGrant("the code has expired"), RequestInfo("reference", "token", user=user))

    assert f"[reference] user={user}" in caplog.text


def test_a_long_description_does_not_cut_off_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valetkey")
    refusal = InvalidGrant("sign in as before " * 15, log_detail="the address is not verified")

    log_refusal(refusal, RequestInfo("reference", "token"))

    assert "(the address is not verified) [reference]" in caplog.text


def test_a_line_is_written_if_stderr_cannot_encode_it() -> None:
    program = "from valetkey.activity.log import set_up_log, _log; set_up_log('', 'text'); _log.info('caf\\xe9')"

    completed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )

    assert b"INFO valetkey: caf\\xe9" in completed.stderr
