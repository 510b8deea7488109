"""Commands as processes of their own that begin at once: forked from a server that has imported everything.

A test that kills or signals a command needs a real process, not a second of imports for each: torch's alone
take more than most such tests. What a process does while it imports is tested with processes that do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
# torch imports its compiler at the first step of any optimiser
COMPILER = "torch._dynamo"
SERVER.set_forkserver_preload(["amr_cli.data", "amr_cli.train", "amr_train.experiments.running", COMPILER])


class Forked:
    """As much of `subprocess.Popen` as tests ask for, of `python -m amr_cli.NAME WORDS...`; what it writes
    goes to files."""

    def __init__(
        self,
        module: str,
        words: Sequence[object],
        environment: Mapping[str, str] | None = None,
        session: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._written = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        for path in self._written:
            path.touch()
        variables = dict(os.environ if environment is None else environment)
        self._encoding = variables.get("PYTHONIOENCODING", "utf-8")
        spelt, written = [str(word) for word in words], [str(path) for path in self._written]
        told = (module, spelt, variables, os.getcwd(), written, session)
        self._process = SERVER.Process(target=_begin, args=told)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._written[0].read_text(self._encoding)

    @property
    def stderr(self) -> str:
        return self._written[1].read_text(self._encoding)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.stdout, self.stderr

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _begin(
    module: str,
    words: list[str],
    environment: dict[str, str],
    folder: str,
    written: list[str],
    session: bool,
) -> None:
    if session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in zip((1, 2), written, strict=True):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")  # which Python asks when it begins
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules["__main__"] = types.ModuleType("__main__")  # what it starts need not import the tests' own
    sys.argv = [module, *words]
    import_module(module).main()
