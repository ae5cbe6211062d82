"""The benchmark's end of an engine process: requests with a time limit, its memory, its cores."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set

# Longest waits in seconds; what takes longer is taken for hung.
LIMITS: Mapping[str, float] = {"hello": 120, "build": 3600, "churn": 3600, "save": 600, "open": 600}
SEARCH_LIMIT = 900.0


class EngineError(Exception):
    """An engine answered that it cannot do what was asked; it may go on with other requests."""


class EngineLost(EngineError):
    """An engine that ended, hung or spoke nonsense; its process is gone."""


class Engine:
    """One engine in a process of its own. `cores` are all it may use until told otherwise."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        cores: Set[int],
        limit: Optional[float] = None,
    ) -> None:
        self._limit = limit
        self._cores = set(cores)
        self._log = log
        self._lines: "queue.Queue[Optional[str]]" = queue.Queue()
        self.closed = False
        try:
            with log.open("ab") as errors, _on(self._cores):
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(environment),
                    universal_newlines=True,
                )
        except OSError as error:
            raise EngineLost(f"cannot start {shlex.join(command)}: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # asked for as a pipe
        with contextlib.suppress(ValueError):
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def request(self, op: str, **fields: Any) -> Dict[str, Any]:
        """One request and its answer; EngineError is the engine's own, EngineLost the end."""
        if self.closed:
            raise EngineLost("the engine is no longer there")
        limit = self._limit or LIMITS.get(op, SEARCH_LIMIT)
        assert self._process.stdin is not None  # asked for as a pipe
        try:
            self._process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self.kill()
            raise EngineLost(f"no answer to {op} within {limit:.0f} s") from None
        except OSError:
            line = None
        if line is None:
            raise EngineLost(self._ending(op))
        return self._answer(op, line)

    def _answer(self, op: str, line: str) -> Dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.kill()
            raise EngineLost(f"its answer to {op} is no JSON object: {line.strip()[:100]!r}")
        if "error" in answer:
            raise EngineError(f"{op}: {answer['error']}")
        return answer

    def _ending(self, op: str) -> str:
        """How the process ended, with the last it said."""
        try:
            status = self._process.wait(10)
        except subprocess.TimeoutExpired:
            status = 0
        self.kill()
        how = f"status {status}" if status >= 0 else _signal_name(-status)
        said = last_line(self._log)
        return f"ended at {op} ({how})" + (f": {said}" if said else "")

    # Memory and cores

    def resident_bytes(self) -> int:
        """Its share of physical memory: its own pages, and of shared ones its part."""
        return pss_of(Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="ascii"))

    def use_cores(self, cores: Set[int]) -> None:
        """Keeps all its threads, and those they start from now on, to `cores`."""
        if cores == self._cores:
            return
        self._cores = set(cores)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{self._process.pid}/task"):
                _restrict(int(task), self._cores)

    # The end

    def quit(self) -> None:
        if self.closed:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self._process.stdin is not None  # asked for as a pipe
            self._process.stdin.write('{"op": "quit"}\n')
            self._process.stdin.close()
            self._process.wait(10)
        self.kill()

    def kill(self) -> None:
        self.closed = True
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._reader.join(10)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


@contextlib.contextmanager
def _on(cores: Set[int]) -> Iterator[None]:
    """What is started inside begins its life on `cores`."""
    own = os.sched_getaffinity(0)
    _restrict(0, cores)
    try:
        yield
    finally:
        _restrict(0, own)


def _restrict(task: int, cores: Set[int]) -> None:
    """Where the system forbids it the engine runs on what it has."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(task, cores)


def all_cores() -> List[int]:
    return sorted(os.sched_getaffinity(0))


def pss_of(rollup: str) -> int:
    """The bytes of /proc/PID/smaps_rollup that count: huge pages are listed beside the rest."""
    counted = ("Pss:", "Private_Hugetlb:", "Shared_Hugetlb:")
    found = [line.split() for line in rollup.splitlines()]
    return sum(int(words[1]) * 1024 for words in found if len(words) > 1 and words[0] in counted)


def last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        return next((line[:300] for line in reversed(lines) if line), "")
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
