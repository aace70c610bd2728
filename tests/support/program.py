"""Programs that tests start: start one and wait until it is ready, read its output, stop, suspend or kill it."""

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
    """A program ended during its start or was not ready in time. The message contains its output."""


class NotInstalled(AssertionError):
    """A program that the tests need is not installed. The message says how to install it."""


_random = random.SystemRandom()  # a test may set the seed of the module's generator


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no server listens.

    It is below the ports that the system assigns to outgoing connections (from 32768), for such a connection could use
    the port before the server does.
    """
    while True:
        port = _random.randrange(10_240, 32_768)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def find_program(names: Sequence[str], package: str) -> str:
    """Return the path of the first of these programs that is installed.

    :raises NotInstalled: if none is. The message names the Debian package.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    raise NotInstalled(f"{names[0]} is not installed: run `make test`, or as root `apt-get install {package}`")


def accepts_connections(port: int) -> bool:
    """Return whether a server listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Program:
    """A child process in its own session, so that its children can be ended with it.

    It also ends with the thread that started it: a test run that is killed leaves no processes behind.

    :param log: the file to which standard output and standard error are appended.
    :param is_ready: is called every 20 ms until it returns true.
    :param environment: the environment variables; by default those of the test run.
    :param run_as: the Unix account that runs the program; by default that of the test run.
    :param timeout_s: how long the program may take until it is ready.
    :param stop_signal: the signal that ``stop()`` sends.
    :raises StartFailed: if the program ends before it is ready, or is not ready in time.
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
        """The id of the process, which is also the id of its process group."""
        return self._process.pid

    @property
    def log(self) -> str:
        """The output of the program so far."""
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        """Return whether the program has not ended yet."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = 15) -> int:
        """Send the stop signal and return the program's exit code.

        :raises AssertionError: if it does not end in time. It has been killed then.
        """
        if self.is_running():
            self._process.send_signal(self._stop_signal)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {timeout_s} s after the stop signal\n{self.log}") from None
        finally:
            self.kill()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend the program and its descendants during the block.

        The kernel still accepts connections and data for them, but they do not respond.
        """
        pids = _process_tree(self._process.pid)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the program and its descendants at once, as ``kill -9`` does, and wait until none is left."""
        pids = _process_tree(self._process.pid) if self.is_running() else []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in pids:  # PostgreSQL's child processes have their own process groups
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 5
        while any(map(_is_still_running, pids)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if not self.is_running():
                raise StartFailed(f"exit code {self._process.returncode}\n{self.log}")
            if time.monotonic() > deadline:
                raise StartFailed(f"not ready within {timeout_s} s\n{self.log}")
            time.sleep(0.02)  # real time: the test's clock does not move another process
        if not self.is_running():  # another program on this port responded
            raise StartFailed(f"exit code {self._process.returncode}\n{self.log}")


def _process_tree(pid: int) -> list[int]:
    """Return the ids of a process and its descendants, parents before their children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        children = []
    return [pid, *(descendant for child in children for descendant in _process_tree(int(child)))]


def _is_still_running(pid: int) -> bool:
    """Return whether a killed process has not ended yet. A zombie, whose exit code was not read, has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def with_parent_death_signal(command: Sequence[str], run_as: str | None = None) -> list[str]:
    """Return the command with ``setpriv`` in front of it, so that it ends with the thread that starts it.

    Without ``setpriv`` the command is returned unchanged.

    :param run_as: the Unix account that runs the command; by default that of the test run.
    :raises NotInstalled: if ``run_as`` is set and ``setpriv`` is not installed.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if run_as is not None:
            raise NotInstalled("setpriv is not installed: run as root `apt-get install util-linux`")
        return list(command)
    account = [f"--reuid={run_as}", f"--regid={run_as}", "--clear-groups"] if run_as else []
    return [setpriv, "--pdeathsig", "TERM", *account, "--", *command]
