"""What goes on for a while in the server."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

import httpx

from .. import types as t
from .._core import EventReader, call, given
from .part import Part, deadline, entries, raise_failed, task_end, until_next

JobProgress = Callable[[t.JobReport], None]


class Jobs(Part):
    """Loads of files that the server reads itself."""

    def create(
        self,
        index: str,
        inputs: Sequence[str],
        *,
        format: Optional[t.FileFormat] = None,
        mapping: Optional[t.JobMapping] = None,
        max_rejects: Optional[t.MaxRejects] = None,
    ) -> t.JobReport:
        """Makes one. The request is not sent again where its fate is not known."""
        body = given(
            index=index, inputs=list(inputs), format=format, mapping=mapping, max_rejects=max_rejects
        )
        answer: t.JobReport = self._transport.send(call("createJob", body=body))
        return answer

    def get(self, id: str) -> t.JobReport:
        """How far it is."""
        answer: t.JobReport = self._transport.send(call("getJob", id))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.JobReport]:
        """All, the latest first."""
        for entry in entries(self._transport, "listJobs", "jobs", page_size=page_size):
            yield entry

    def wait(
        self,
        id: str,
        *,
        progress: Optional[JobProgress] = None,
        poll: float = 0.5,
        timeout: Optional[float] = None,
        check: bool = True,
    ) -> t.JobReport:
        """Returns when it has ended or was paused, after `progress` was told how far it is every
        `poll` seconds. Raises `TaskFailed` where it is not done then, unless `check` is false."""
        until = deadline(timeout)
        while True:
            report = self.get(id)
            if progress is not None:
                progress(report)
            state = report["state"]
            if state in ("done", "failed", "cancelled", "paused"):
                if check and state != "done":
                    raise_failed(f"job {id}", report)
                return report
            until_next(f"job {id}", poll, until)

    def events(self, id: str) -> Iterator[t.JobReport]:
        """How far it is, as the server tells it, until it ends or is paused."""
        reader = EventReader()
        usual = self._transport.timeout
        timeout = httpx.Timeout(connect=usual.connect, read=None, write=usual.write, pool=usual.pool)
        with self._transport.open(call("watchJob", id), timeout) as response:
            for line in response.iter_lines():
                event = reader.feed(line)
                if event is not None:
                    report: t.JobReport = json.loads(event[1])
                    yield report
                    if event[0] == "end":
                        return

    def rejects(self, id: str) -> Iterator[Dict[str, Any]]:
        """The rows that were rejected."""
        with self._transport.open(call("getRejects", id)) as response:
            for line in response.iter_lines():
                if line.strip():
                    reject: Dict[str, Any] = json.loads(line)
                    yield reject

    def pause(self, id: str) -> t.JobReport:
        """Halts it."""
        answer: t.JobReport = self._transport.send(call("pauseJob", id, body={}))
        return answer

    def resume(self, id: str, *, max_rejects: Optional[t.MaxRejects] = None) -> t.JobReport:
        """Goes on with it."""
        asked = call("resumeJob", id, body=given(max_rejects=max_rejects))
        answer: t.JobReport = self._transport.send(asked)
        return answer

    def cancel(self, id: str) -> t.JobReport:
        """Calls it off; what it loaded stays."""
        answer: t.JobReport = self._transport.send(call("cancelJob", id, body={}))
        return answer

    def retry(self, id: str, *, max_rejects: Optional[t.MaxRejects] = None) -> t.JobReport:
        """Goes on with one that failed or was called off."""
        asked = call("retryJob", id, body=given(max_rejects=max_rejects))
        answer: t.JobReport = self._transport.send(asked)
        return answer


class Tasks(Part):
    """What takes longer than a request."""

    def get(self, id: str) -> t.TaskAnswer:
        """How far it is."""
        answer: t.TaskAnswer = self._transport.send(call("getTask", id))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.TaskAnswer]:
        """All, the latest first."""
        for entry in entries(self._transport, "listTasks", "tasks", page_size=page_size):
            yield entry

    def wait(self, id: str, *, poll: float = 0.5, timeout: Optional[float] = None) -> t.TaskAnswer:
        """Returns when it is done, with its `result`; raises `TaskFailed` where it failed."""
        return task_end(self._transport, id, poll, timeout)
