"""What goes on for a while in the server."""

# Edit this file; its twin in `_sync` is written by scripts/generate.py.

from __future__ import annotations

import json
from typing import Any, AsyncIterator, Callable, Dict, Optional, Sequence

import httpx

from .. import types as t
from .._core import EventReader, call, given
from .part import Part, deadline, entries, raise_failed, task_end, until_next

JobProgress = Callable[[t.JobReport], None]


class Jobs(Part):
    """Loads of files that the server reads itself."""

    async def create(
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
        answer: t.JobReport = await self._transport.send(call("createJob", body=body))
        return answer

    async def get(self, id: str) -> t.JobReport:
        """How far it is."""
        answer: t.JobReport = await self._transport.send(call("getJob", id))
        return answer

    async def list(self, *, page_size: Optional[int] = None) -> AsyncIterator[t.JobReport]:
        """All, the latest first."""
        async for entry in entries(self._transport, "listJobs", "jobs", page_size=page_size):
            yield entry

    async def wait(
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
            report = await self.get(id)
            if progress is not None:
                progress(report)
            state = report["state"]
            if state in ("done", "failed", "cancelled", "paused"):
                if check and state != "done":
                    raise_failed(f"job {id}", report)
                return report
            await until_next(f"job {id}", poll, until)

    async def events(self, id: str) -> AsyncIterator[t.JobReport]:
        """How far it is, as the server tells it, until it ends or is paused."""
        reader = EventReader()
        usual = self._transport.timeout
        timeout = httpx.Timeout(connect=usual.connect, read=None, write=usual.write, pool=usual.pool)
        async with self._transport.open(call("watchJob", id), timeout) as response:
            async for line in response.aiter_lines():
                event = reader.feed(line)
                if event is not None:
                    report: t.JobReport = json.loads(event[1])
                    yield report
                    if event[0] == "end":
                        return

    async def rejects(self, id: str) -> AsyncIterator[Dict[str, Any]]:
        """The rows that were rejected."""
        async with self._transport.open(call("getRejects", id)) as response:
            async for line in response.aiter_lines():
                if line.strip():
                    reject: Dict[str, Any] = json.loads(line)
                    yield reject

    async def pause(self, id: str) -> t.JobReport:
        """Halts it."""
        answer: t.JobReport = await self._transport.send(call("pauseJob", id, body={}))
        return answer

    async def resume(self, id: str, *, max_rejects: Optional[t.MaxRejects] = None) -> t.JobReport:
        """Goes on with it."""
        asked = call("resumeJob", id, body=given(max_rejects=max_rejects))
        answer: t.JobReport = await self._transport.send(asked)
        return answer

    async def cancel(self, id: str) -> t.JobReport:
        """Calls it off; what it loaded stays."""
        answer: t.JobReport = await self._transport.send(call("cancelJob", id, body={}))
        return answer

    async def retry(self, id: str, *, max_rejects: Optional[t.MaxRejects] = None) -> t.JobReport:
        """Goes on with one that failed or was called off."""
        asked = call("retryJob", id, body=given(max_rejects=max_rejects))
        answer: t.JobReport = await self._transport.send(asked)
        return answer


class Tasks(Part):
    """What takes longer than a request."""

    async def get(self, id: str) -> t.TaskAnswer:
        """How far it is."""
        answer: t.TaskAnswer = await self._transport.send(call("getTask", id))
        return answer

    async def list(self, *, page_size: Optional[int] = None) -> AsyncIterator[t.TaskAnswer]:
        """All, the latest first."""
        async for entry in entries(self._transport, "listTasks", "tasks", page_size=page_size):
            yield entry

    async def wait(self, id: str, *, poll: float = 0.5, timeout: Optional[float] = None) -> t.TaskAnswer:
        """Returns when it is done, with its `result`; raises `TaskFailed` where it failed."""
        return await task_end(self._transport, id, poll, timeout)
