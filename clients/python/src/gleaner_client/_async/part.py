"""What the operations on all resources stand on."""

# Edit this file; its twin in `_sync` is written by scripts/generate.py.

from __future__ import annotations

import time
from typing import Any, AsyncIterator, BinaryIO, Dict, Mapping, Optional, Union

from .. import types as t
from .._core import Pending, asleep, call
from .._files import PathLike, Sink
from ..errors import TaskFailed, TimedOut, error_of
from .transport import Transport

#: Whether a write is answered when searches see it.
Refresh = Union[bool, None]
Durability = Optional[str]


class Part:
    """Some of the operations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


def writing(refresh: Refresh, durability: Durability, **more: Any) -> Dict[str, Any]:
    """The parameters of a write."""
    wait = "wait" if refresh else None
    return {"refresh": wait, "durability": durability, **more}


async def entries(
    transport: Transport,
    operation: str,
    member: str,
    *names: str,
    page_size: Optional[int] = None,
    params: Optional[Mapping[str, Any]] = None,
) -> AsyncIterator[Any]:
    """The entries of a list, page by page."""
    after: Optional[str] = None
    while True:
        asked = call(operation, *names, params={**(params or {}), "limit": page_size, "after": after})
        answer = await transport.send(asked)
        for entry in answer[member]:
            yield entry
        after = answer.get("next")
        if after is None:
            return


async def settled(transport: Transport, asked: Any, timeout: Optional[float]) -> Any:
    """What is answered in the end, of what may take longer than a request."""
    answer = await transport.send(asked)
    if not isinstance(answer, Pending):
        return answer
    task = await task_end(transport, answer.task["id"], 0.5, timeout)
    return task.get("result")


async def task_end(transport: Transport, id: str, poll: float, timeout: Optional[float]) -> t.TaskAnswer:
    until = deadline(timeout)
    while True:
        report: t.TaskAnswer = await transport.send(call("getTask", id))
        if report["state"] == "done":
            return report
        if report["state"] != "running":
            raise_failed(f"task {id}", report)
        await until_next(f"task {id}", poll, until)


async def download(transport: Transport, asked: Any, to: Union[PathLike, BinaryIO]) -> int:
    async with transport.open(asked) as response:
        sink = Sink(to)
        whole = False
        try:
            async for part in response.aiter_bytes():
                sink.write(part)
            whole = True
        finally:
            sink.close(whole)
    return sink.bytes


def deadline(timeout: Optional[float]) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


async def until_next(what: str, seconds: float, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimedOut(f"{what} has not ended in the time that was given; it goes on")
    await asleep(min(seconds, left))


def raise_failed(what: str, report: Mapping[str, Any]) -> None:
    failure = report.get("error")
    error = error_of(failure) if failure else None
    told = f": {error}" if error else ""
    raise TaskFailed(f"{what} is {report['state']}{told}", report, error)
