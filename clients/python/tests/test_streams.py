"""Documents without end."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Iterator, List

import anyio
import httpx
import pytest
from conftest import Server, Waiting, free_port

from gleaner_client import (
    AsyncClient,
    BulkError,
    BulkProgress,
    Client,
    ConnectionFailed,
    NotFoundError,
    Retry,
)
from gleaner_client._bulk import WINDOW

QUICK = Retry(attempts=8, first_wait=0.05, longest_wait=0.5)


def documents(n: int, **more: Any) -> Iterator[Dict[str, Any]]:
    return ({"id": f"d{i}", "title": f"document {i}", **more} for i in range(n))


async def test_many(client: AsyncClient, words: str) -> None:
    told: List[BulkProgress] = []
    result = await client.bulk_stream(words, documents(25_000), progress=told.append, refresh=True)
    assert (result.written, result.rejected, result.rejections) == (25_000, 0, [])
    assert told[-1] == BulkProgress(25_000, 25_000, 25_000, 0)
    assert [report.done for report in told] == sorted(report.done for report in told)
    assert (await client.indexes.get(words))["stats"]["documents"] == 25_000


async def test_none(client: AsyncClient, words: str) -> None:
    assert (await client.bulk_stream(words, [])).written == 0


async def test_of_what_is_waited_for(url: str, words: str) -> None:
    async def some() -> AsyncIterator[Dict[str, Any]]:
        for document in documents(300):
            yield document

    async with AsyncClient(url) as client:
        assert (await client.bulk_stream(words, some(), refresh=True)).written == 300


def test_with_trio(url: str, words: str) -> None:
    pytest.importorskip("trio")

    async def asked() -> None:
        async with AsyncClient(url) as client:
            result = await client.bulk_stream(words, documents(3000), refresh=True)
            assert result.written == 3000
            assert len(await client.search(words, "document", k=3)) == 3
            assert len([hit async for hit in client.search_all(words, sort=["id"], page_size=1000)]) == 3000
        async with AsyncClient(
            f"http://127.0.0.1:{free_port()}", retry=Retry(attempts=2, first_wait=0.01)
        ) as nobody:
            with pytest.raises(ConnectionFailed):
                await nobody.health()

    anyio.run(asked, backend="trio")


async def test_the_refused_are_named(client: AsyncClient, words: str) -> None:
    mixed = [{"id": f"d{i}", "title": i if i % 5 == 0 else "x"} for i in range(20)]
    result = await client.bulk_stream(words, mixed)
    assert (result.written, result.rejected) == (16, 4)
    assert [(one.item, one.id) for one in result.rejections] == [
        (0, "d0"),
        (5, "d5"),
        (10, "d10"),
        (15, "d15"),
    ]
    assert result.rejections[0].error.code == "invalid_document"
    assert result.rejections[0].error.field == "title"
    with pytest.raises(Exception, match="invalid_document"):
        result.raise_for_rejections()
    with pytest.raises(BulkError) as caught:
        await client.bulk_stream(words, mixed, max_rejected=3)
    assert caught.value.rejected == 4 and caught.value.done == 20


async def test_more_refused_than_a_stream_may_have(client: AsyncClient, words: str) -> None:
    mixed = ({"id": f"d{i}", "title": i if i % 2 else "x"} for i in range(5000))
    result = await client.bulk_stream(words, mixed, max_rejected=None, keep_rejections=10)
    assert (result.written, result.rejected, len(result.rejections)) == (2500, 2500, 10)
    with pytest.raises(BulkError) as caught:
        await client.bulk_stream(words, ({"id": f"d{i}"} for i in range(10_000)))
    assert 1000 < caught.value.rejected < 10_000 and "too_many_rejects" in str(caught.value.error)


async def test_no_such_index(client: AsyncClient) -> None:
    for _ in range(2):
        with pytest.raises(NotFoundError, match="index_not_found"):
            await client.bulk_stream("no-such-index", documents(10))


async def test_an_error_of_the_source_is_the_callers(client: AsyncClient, words: str) -> None:
    def broken() -> Iterator[Dict[str, Any]]:
        yield from documents(10)
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        await client.bulk_stream(words, broken())


async def test_progress_is_told_meanwhile(client: AsyncClient, words: str) -> None:
    told: List[float] = []

    def slow() -> Iterator[Dict[str, Any]]:
        for document in documents(3):
            yield document
            time.sleep(0.8)

    begun = time.monotonic()
    await client.bulk_stream(words, slow(), progress=lambda report: told.append(time.monotonic() - begun))
    assert len(told) >= 2 and told[0] < 2.5


async def test_no_more_is_kept_than_a_window(client: AsyncClient, words: str) -> None:
    unsettled = 0
    taken = 0
    done = 0

    def large() -> Iterator[Dict[str, Any]]:
        nonlocal taken, unsettled
        for document in documents(160, section="x", title="word " * 100_000):
            taken += 1
            unsettled = max(unsettled, taken - done)
            yield document

    def note(report: BulkProgress) -> None:
        nonlocal done
        done = report.done

    result = await client.bulk_stream(words, large(), progress=note)
    assert result.written == 160
    assert unsettled <= WINDOW // 500_000 + 3


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_server_that_ends_meanwhile(tmp_path: Path, how: str, kind: str) -> None:
    server = Server(tmp_path)
    server.address = server.address  # the same after the restart
    total = 4000
    if kind == "sync":
        client: Any = Waiting(Client(server.url, retry=QUICK))
    else:
        client = AsyncClient(server.url, retry=QUICK)
    await client.indexes.create({"name": "notes", "fields": {"title": {"type": "text"}}})
    ended: List[threading.Thread] = []

    def restart() -> None:
        getattr(server, how)()
        server.start()

    def source() -> Iterator[Dict[str, Any]]:
        for n, document in enumerate(documents(total)):
            if n == total // 2:
                # What was sent is under way; some of it is written.
                ended.append(threading.Thread(target=restart))
                ended[0].start()
            if n % 20 == 0:
                time.sleep(0.01)
            yield document

    try:
        result = await client.bulk_stream("notes", source(), refresh=True)
        ended[0].join()
        assert result.written == total and result.rejected == 0
        assert (await client.indexes.get("notes"))["stats"]["documents"] == total
        found = [hit.id async for hit in client.search_all("notes", sort=["id"], page_size=1000)]
        assert sorted(found) == sorted(f"d{i}" for i in range(total))
    finally:
        await client.aclose() if kind == "async" else None
        server.stop()


async def test_a_server_that_does_not_come_back(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with Client(server.url, retry=Retry(attempts=2, first_wait=0.01)) as client:
        client.indexes.create({"name": "notes", "fields": {"title": {"type": "text"}}})

        def source() -> Iterator[Dict[str, Any]]:
            yield from documents(1000)
            server.kill()
            yield from documents(1000)

        with pytest.raises(BulkError) as caught:
            client.bulk_stream("notes", source())
        assert isinstance(caught.value.error, ConnectionFailed)
        assert caught.value.done <= 2000


async def test_nobody_there() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", retry=0) as client, pytest.raises(ConnectionFailed):
        client.bulk_stream("notes", documents(3))


async def test_without_streams(url: str, words: str) -> None:
    """An HTTP client of the caller's own takes documents in batches."""
    sizes: List[int] = []

    def note(request: httpx.Request) -> None:
        sizes.append(request.content.count(b"\n"))

    told: List[BulkProgress] = []
    with httpx.Client(event_hooks={"request": [note]}) as http, Client(url, http_client=http) as client:
        mixed = ({"id": f"d{i}", "title": "x" if i % 1000 else 1} for i in range(2500))
        result = client.bulk_stream(words, mixed, progress=told.append, refresh=True)
    assert sizes == [1000, 1000, 500]
    assert (result.written, result.rejected) == (2497, 3)
    assert [one.item for one in result.rejections] == [0, 1000, 2000]
    assert told[-1].done == told[-1].sent == 2500
    assert [report.done for report in told] == [1000, 2000, 2500]


async def test_a_server_that_knows_no_streams(words: str) -> None:
    """Such a one answers a stream of nothing with JSON, and is sent batches."""
    asked: List[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        lines = [json.loads(line) for line in request.content.splitlines()]
        items = [{"id": line["id"], "status": "created", "version": 1} for line in lines]
        return httpx.Response(200, json={"items": items, "written": len(items), "rejected": 0})

    client = Client("http://localhost:1")
    client._transport.http = httpx.Client(transport=httpx.MockTransport(answer))
    client._transport.is_direct = True
    assert client.bulk_stream("notes", documents(1200)).written == 1200
    assert len(asked) == 3 and all("idempotency-key" in request.headers for request in asked[1:])
    assert "idempotency-key" not in asked[0].headers
    assert client.bulk_stream("notes", documents(10)).written == 10
    assert len(asked) == 4
