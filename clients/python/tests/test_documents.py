"""Documents, one and several."""

from __future__ import annotations

import datetime

import pytest

from gleaner_client import (
    AsyncClient,
    InvalidRequestError,
    KeyReusedError,
    NotFoundError,
    VersionConflictError,
)


async def test_one(client: AsyncClient, words: str) -> None:
    put = await client.documents.put(words, "a/b ü", {"title": "Night train", "stars": 4}, refresh=True)
    assert put["status"] == "created" and put["id"] == "a/b ü"
    got = await client.documents.get(words, "a/b ü")
    assert got["document"] == {"id": "a/b ü", "title": "Night train", "stars": 4}
    assert got["version"] == put["version"]
    assert await client.documents.exists(words, "a/b ü")
    changed = await client.documents.update(words, "a/b ü", {"stars": None, "section": "x"})
    assert changed["status"] == "updated"
    got = await client.documents.get(words, "a/b ü")
    assert got["document"] == {"id": "a/b ü", "title": "Night train", "section": "x"}
    await client.documents.delete(words, "a/b ü")
    assert not await client.documents.exists(words, "a/b ü")
    await client.documents.delete(words, "a/b ü", missing_ok=True)
    with pytest.raises(NotFoundError) as caught:
        await client.documents.delete(words, "a/b ü")
    assert caught.value.code == "document_not_found"
    with pytest.raises(NotFoundError, match="index_not_found"):
        await client.documents.exists("no-such-index", "a")
    with pytest.raises(NotFoundError, match="index_not_found"):
        await client.documents.delete("no-such-index", "a", missing_ok=True)


async def test_versions(client: AsyncClient, words: str) -> None:
    first = await client.documents.put(words, "v", {"title": "one"}, if_version=0)
    with pytest.raises(VersionConflictError) as caught:
        await client.documents.put(words, "v", {"title": "two"}, if_version=0)
    assert caught.value.status == 409 and str(first["version"]) in str(caught.value)
    await client.documents.put(words, "v", {"title": "two"}, if_version=first["version"])


async def test_the_same_request_is_done_once(client: AsyncClient, words: str) -> None:
    first = await client.documents.put(words, "k", {"title": "one"}, idempotency_key="key-1")
    again = await client.documents.put(words, "k", {"title": "one"}, idempotency_key="key-1")
    assert again == first
    with pytest.raises(KeyReusedError) as caught:
        await client.documents.put(words, "k", {"title": "other"}, idempotency_key="key-1")
    assert caught.value.code == "key_reused"


async def test_dates_and_vectors(client: AsyncClient, words: str, vectors: str) -> None:
    day = datetime.date(2026, 1, 31)
    await client.documents.put(words, "d", {"title": "x", "published": day})
    assert (await client.documents.get(words, "d"))["document"]["published"] == "2026-01-31"
    numpy = pytest.importorskip("numpy")
    vector = numpy.array([0.0, 3.0, 4.0], dtype="float32")
    await client.documents.put(vectors, "d", {"title": "x", "vector": vector})
    got = await client.documents.get(vectors, "d", vectors=True)
    assert got["vectors"] and got["vectors"][0]["values"] == pytest.approx([0.0, 0.6, 0.8])
    with pytest.raises(ValueError, match="JSON"):
        await client.documents.put(vectors, "d", {"vector": [float("nan"), 0.0, 1.0]})


async def test_several(client: AsyncClient, words: str) -> None:
    answer = await client.documents.bulk(
        words, [{"id": "a", "title": "x"}, {"id": "b", "title": 3}, {"id": "c", "title": "y"}], refresh=True
    )
    assert (answer["written"], answer["rejected"]) == (2, 1)
    assert [item["status"] for item in answer["items"]] == ["created", "rejected", "created"]
    failure = answer["items"][1]["error"]
    assert failure and failure["field"] == "title"
    answer = await client.documents.operations(
        words,
        [
            {"put": {"id": "d", "title": "z"}, "if_version": 0},
            {"update": {"id": "a", "stars": 2}},
            {"delete": "c"},
        ],
        refresh=True,
    )
    assert [item["status"] for item in answer["items"]] == ["created", "updated", "deleted"]


async def test_deleting_by_filter(client: AsyncClient, filled: str) -> None:
    assert await client.documents.delete_by_filter(filled, "stars < 3", refresh=True) == 3
    assert await client.documents.delete_by_filter(filled, {"field": "stars", "gte": 8}, refresh=True) == 2
    assert (await client.indexes.get(filled))["stats"]["documents"] == 5
    with pytest.raises(InvalidRequestError):
        await client.documents.delete_by_filter(filled, "stars ><")
