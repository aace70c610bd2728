"""A program that a test starts: its log, its readiness, its end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


class StartFailed(AssertionError):
    """The program ended, or did not answer in time; the message ends with its log."""


class NotInstalled(AssertionError):
    """Something that the tests need is not installed; the message says what to install."""


_random = random.SystemRandom()  # a test may set the seed of the common one


def free_port() -> int:
    """Answer a port of 127.0.0.1 that nobody listens on now.

    Below those that the system gives to connections: one of them could take the port before its server does.
    """
    while True:
        port = _random.randrange(10_240, 32_768)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def find_program(names: Sequence[str], package: str) -> str:
    """Answer the path of the first program found; raise ``Missing`` that names the Debian package."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise NotInstalled(f"{names[0]} is not installed: run `make test`, or as root `apt-get install {package}`")


def accepts_connections(port: int) -> bool:
    """Is anybody listening on this port of 127.0.0.1?"""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Program:
    """One child process in a session of its own, so that its own children end with it.

    It ends too when the thread that started it ends: a killed test run leaves nothing behind.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        run_as: str | None = None,
        timeout_s: float = 60,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._log = log
        self._stop_signal = stop_signal
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                with_parent_death_signal(command, run_as),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
        try:
            self._wait_until(is_ready, timeout_s)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The process that was started, which leads its group."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the program has printed so far."""
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        """Has the program not ended yet?"""
        return self._process.poll() is None

    def stop(self, timeout_s: float = 15) -> int:
        """Ask the program to end and answer its exit code; raise where it does not end in time."""
        if self.is_running():
            self._process.send_signal(self._stop_signal)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {timeout_s} s after it was told to stop\n{self.log}") from None
        finally:
            self.kill()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the program and all its children stand still: the kernel answers for them, and they say nothing."""
        family = _process_tree(self._process.pid)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the program and its children at once, as ``kill -9`` and a power cut do; return when none is left."""
        family = _process_tree(self._process.pid) if self.is_running() else []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in family:  # PostgreSQL's lead groups of their own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 5
        while any(map(_is_still_running, family)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if not self.is_running():
                raise StartFailed(f"exit code {self._process.returncode}\n{self.log}")
            if time.monotonic() > deadline:
                raise StartFailed(f"no answer within {timeout_s} s\n{self.log}")
            time.sleep(0.02)  # another process: there is no clock of ours to move
        if not self.is_running():  # whoever answered, it was somebody else on this port
            raise StartFailed(f"exit code {self._process.returncode}\n{self.log}")


def _process_tree(pid: int) -> list[int]:
    """A process and its descendants, the elders first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        children = []
    return [pid, *(one for child in children for one in _process_tree(int(child)))]


def _is_still_running(pid: int) -> bool:
    """Whether a process that was killed has not ended yet; nobody may have asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def with_parent_death_signal(command: Sequence[str], run_as: str | None = None) -> list[str]:
    """Answer the command so changed that it ends with the thread that starts it, run by this Unix account."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if run_as is not None:
            raise NotInstalled("setpriv is not installed: run as root `apt-get install util-linux`")
        return list(command)
    account = [f"--reuid={run_as}", f"--regid={run_as}", "--clear-groups"] if run_as else []
    return [setpriv, "--pdeathsig", "TERM", *account, "--", *command]
