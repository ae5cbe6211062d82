"""What is sent again, and what is not."""

from __future__ import annotations

import json
from typing import Any, AsyncIterator, List, Tuple, Type, Union

import httpx
import pytest
from conftest import Waiting, free_port

from gleaner_client import (
    ApiError,
    AsyncClient,
    Client,
    ConnectionFailed,
    OverloadedError,
    Retry,
    ServerError,
    ServerTimeoutError,
    TimedOut,
    UnexpectedAnswer,
)

QUICK = Retry(attempts=4, first_wait=0.001, longest_wait=0.01)
Step = Union[httpx.Response, Exception]


def error(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"error": {"code": code, "message": "no"}, "request_id": "r1"}
    return httpx.Response(status, json=body, headers=headers)


FOUND = {
    "hits": [],
    "total": {"value": 0, "counts": "filtered"},
    "mode": "lexical",
    "seq": 1,
    "timings": {},
}
WRITTEN = {"id": "a", "status": "created", "version": 1}


class Scripted:
    """A server that answers as it is told, and a client of it."""

    def __init__(self, kind: str, retry: Retry = QUICK) -> None:
        self.steps: List[Step] = []
        self.asked: List[httpx.Request] = []
        transport = httpx.MockTransport(self.answer)
        if kind == "sync":
            http: Any = httpx.Client(transport=transport)
            self.client: Any = Waiting(Client("http://server", http_client=http, retry=retry, api_key="k"))
        else:
            http = httpx.AsyncClient(transport=transport)
            self.client = AsyncClient("http://server", http_client=http, retry=retry, api_key=lambda: "k")

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        # A step may be taken several times; an answer is read once.
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    @property
    def keys(self) -> List[str]:
        return [request.headers.get("idempotency-key", "") for request in self.asked]


@pytest.fixture(params=["sync", "async"])
async def scripted(request: pytest.FixtureRequest) -> AsyncIterator[Scripted]:
    yield Scripted(request.param)


@pytest.mark.parametrize(
    "step",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("broken"),
        httpx.RemoteProtocolError("closed"),
        httpx.ReadTimeout("late"),
        error(503, "overloaded"),
        error(503, "overloaded", **{"retry-after": "1"}),
        error(429, "overloaded"),
        error(504, "timeout"),
        httpx.Response(502, text="<html>Bad Gateway</html>"),
    ],
    ids=str,
)
async def test_reading_is_tried_again(scripted: Scripted, step: Step) -> None:
    scripted.steps = [step, step, httpx.Response(200, json=FOUND)]
    assert len(await scripted.client.search("notes", "x")) == 0
    assert len(scripted.asked) == 3 and scripted.keys == ["", "", ""]
    assert {request.headers["authorization"] for request in scripted.asked} == {"Bearer k"}
    assert len({request.content for request in scripted.asked}) == 1


@pytest.mark.parametrize(
    "step", [httpx.ReadError("broken"), error(504, "timeout"), error(409, "request_in_progress")], ids=str
)
async def test_writes_have_a_key_of_their_own(scripted: Scripted, step: Step) -> None:
    scripted.steps = [step, httpx.Response(201, json=WRITTEN), httpx.Response(200, json=WRITTEN)]
    await scripted.client.documents.put("notes", "a", {"title": "x"})
    await scripted.client.documents.put("notes", "a", {"title": "x"})
    first, again, other = scripted.keys
    assert first and first == again != other


async def test_what_may_have_been_done_is_not_done_again(scripted: Scripted) -> None:
    steps: List[Tuple[Step, Type[Exception]]] = [
        (httpx.ReadError("broken"), ConnectionFailed),
        (httpx.ReadTimeout("late"), TimedOut),
        (error(504, "timeout"), ServerTimeoutError),
    ]
    for step, raised in steps:
        scripted.asked.clear()
        scripted.steps = [step]
        with pytest.raises(raised):
            await scripted.client.indexes.create({"name": "notes", "fields": {}})
        assert len(scripted.asked) == 1
    # What was not taken up is.
    scripted.steps = [
        error(503, "overloaded"),
        httpx.ConnectError("no"),
        httpx.Response(201, json={"definition": {}}),
    ]
    await scripted.client.indexes.create({"name": "notes", "fields": {}})


async def test_what_is_wrong_stays_wrong(scripted: Scripted) -> None:
    for status, code in [
        (400, "invalid_query"),
        (404, "index_not_found"),
        (409, "index_exists"),
        (500, "internal"),
    ]:
        scripted.asked.clear()
        scripted.steps = [error(status, code)]
        with pytest.raises(ApiError, match=code):
            await scripted.client.search("notes", "x")
        assert len(scripted.asked) == 1


async def test_it_ends(scripted: Scripted) -> None:
    scripted.steps = [error(503, "overloaded")] * 4
    with pytest.raises(OverloadedError) as caught:
        await scripted.client.search("notes", "x")
    assert caught.value.request_id == "r1" and len(scripted.asked) == 4
    scripted.steps = [httpx.Response(200, text="hello", headers={"content-type": "application/json"})]
    with pytest.raises(UnexpectedAnswer):
        await scripted.client.search("notes", "x")
    scripted.steps = [httpx.Response(418, text="tea")]
    with pytest.raises(UnexpectedAnswer, match="tea"):
        await scripted.client.search("notes", "x")


async def test_documents_that_were_not_reached_are_sent_again(scripted: Scripted) -> None:
    late = {"id": "b", "status": "rejected", "error": {"code": "timeout", "message": "late"}}
    wrong = {"id": "a", "status": "rejected", "error": {"code": "invalid_document", "message": "no"}}
    fine = {"id": "b", "status": "created", "version": 2}
    scripted.steps = [
        httpx.Response(207, json={"items": [wrong, late], "written": 0, "rejected": 2}),
        httpx.Response(207, json={"items": [wrong, fine], "written": 1, "rejected": 1}),
    ]
    answer = await scripted.client.documents.bulk("notes", [{"id": "a"}, {"id": "b"}])
    assert (answer["written"], answer["rejected"]) == (1, 1)
    assert len(set(scripted.keys)) == 1 and len(scripted.asked) == 2


async def test_long_work_is_waited_for(scripted: Scripted) -> None:
    task = {
        "id": "t1",
        "kind": "compact",
        "index": "notes",
        "state": "running",
        "started": "",
        "seconds": 1.0,
    }
    done = {**task, "state": "done", "result": {"compacted": "notes", "bytes_before": 2, "bytes": 1}}
    scripted.steps = [httpx.Response(202, json=task), httpx.Response(200, json=done)]
    assert (await scripted.client.indexes.compact("notes"))["bytes"] == 1
    assert scripted.asked[1].url.path == "/v1/tasks/t1"
    failed = {**task, "state": "failed", "error": {"code": "storage_full", "message": "full"}}
    scripted.steps = [httpx.Response(202, json=task), httpx.Response(200, json=failed)]
    with pytest.raises(Exception, match="storage_full") as caught:
        await scripted.client.snapshots.create("notes")
    assert isinstance(caught.value.error, ServerError)  # type: ignore[attr-defined]
    scripted.steps = [httpx.Response(202, json=task), httpx.Response(200, json=task)]
    with pytest.raises(TimedOut):
        await scripted.client.indexes.compact("notes", timeout=0)


def test_waits_grow_and_heed_the_server() -> None:
    retry = Retry(first_wait=0.2, longest_wait=5)
    for attempt, longest in [(1, 0.2), (2, 0.4), (3, 0.8), (9, 5.0)]:
        waits = {retry.pause(attempt, None) for _ in range(50)}
        assert all(longest / 2 <= wait <= longest for wait in waits) and len(waits) > 40
    busy = OverloadedError("busy", code="overloaded", status=503, retry_after=3)
    assert retry.pause(1, busy) == 3
    busy.retry_after = 3600
    assert retry.pause(1, busy) == 5


def test_nobody_there() -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}", retry=0) as client,
        pytest.raises(ConnectionFailed, match="no connection"),
    ):
        client.health()


@pytest.mark.parametrize("url", ["localhost:7700", "ftp://host", "http://", ""])
def test_an_address_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEANER_URL", "nonsense")
    with pytest.raises(ValueError, match="address of a server"):
        Client(url or None)


def test_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEANER_URL", "http://gleaner:7700/search/")
    monkeypatch.setenv("GLEANER_API_KEY", "glk_1")
    asked: List[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"status": "ok"})

    with Client(http_client=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        client.health()
    assert str(asked[0].url) == "http://gleaner:7700/search/health"
    assert asked[0].headers["authorization"] == "Bearer glk_1"
    assert json.dumps(asked[0].headers["user-agent"]).startswith('"gleaner-client/')
