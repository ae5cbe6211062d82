"""Searches and what comes of them."""

from __future__ import annotations

from typing import List

import pytest

from gleaner_client import ApiError, AsyncClient, Client, CursorExpiredError, SearchResults


async def test_hits(client: AsyncClient, filled: str) -> None:
    results = await client.search(
        filled,
        "train",
        k=3,
        filter="stars >= 4",
        sort=["-stars"],
        facets={"section": 5},
        highlight={"fields": ["title"]},
        fields=["title", "stars"],
    )
    assert results.ids == ["n9", "n8", "n7"] and len(results) == 3
    assert results.total == 6 and results.mode == "lexical"
    assert results[0]["stars"] == 9 and results[0].get("section") is None
    assert results[0].highlights == {"title": ["<em>train</em> number 9"]}
    assert [hit.sort for hit in results[1:]] == [[8], [7]]
    assert {count["value"]: count["count"] for count in results.facets["section"]} == {"a": 3, "b": 3}
    assert results.timings["total_ms"] >= 0 and results.degraded == []


async def test_vectors(client: AsyncClient, vectors: str) -> None:
    await client.documents.bulk(
        vectors,
        [{"id": "x", "title": "red", "vector": [1, 0, 0]}, {"id": "y", "title": "blue", "vector": [0, 1, 0]}],
        refresh=True,
    )
    assert (await client.search(vectors, vector=[0.1, 1, 0], k=1)).ids == ["y"]
    assert (await client.search(vectors, "red", vector=[1, 0, 0], mode="hybrid", explain=True))[0].explanation
    assert (await client.search(vectors, like={"ids": ["x"]})).ids == ["y"]


async def test_several_at_once(client: AsyncClient, filled: str) -> None:
    first, second, third = await client.search_many(
        filled, [{"query": "train", "k": 2}, {"query": "train", "filter": "stars >< 3"}, {"query": "number"}]
    )
    assert isinstance(first, SearchResults) and len(first) == 2
    assert isinstance(second, ApiError) and second.code == "invalid_filter" and second.status is None
    assert isinstance(third, SearchResults) and len(third) == 10


async def test_pages(client: AsyncClient, plain: Client, filled: str) -> None:
    pages = [page async for page in client.search_pages(filled, sort=["stars"], page_size=4)]
    assert [len(page) for page in pages] == [4, 4, 2]
    hits: List[str] = []
    async for hit in client.search_all(filled, "train", sort=["-stars"], filter="stars < 8", page_size=3):
        if not hits:
            # It is as of the instant of the first page.
            plain.documents.delete(filled, "n0", refresh=True)
        hits.append(hit.id)
    assert hits == [f"n{i}" for i in range(7, -1, -1)]
    assert [page async for page in client.search_pages(filled, "nothing")] == []
    with pytest.raises(CursorExpiredError):
        await client.search(filled, cursor={"token": "0b6c1f0f6d0d4be29f5e0a4f3f1c2a77-1"})


async def test_groups(client: AsyncClient, filled: str) -> None:
    results = await client.search(filled, "train", collapse={"field": "section", "inner": 2}, sort=["stars"])
    assert [(hit.group, hit.id) for hit in results] == [("a", "n0"), ("b", "n1")]
    assert [inner["id"] for inner in results[0].inner] == ["n2", "n4"]


async def test_embeddings_and_meaning(client: AsyncClient, plain: Client, encoder: str, name: str) -> None:
    texts = ["the first cat in space", "how sourdough rises"]
    embeddings = await client.embed(texts, model=encoder, task="document")
    assert len(embeddings) == 2 and len(embeddings[0]) == 384 and embeddings.tokens > 0
    assert sum(value * value for value in embeddings[1]) == pytest.approx(1, abs=1e-5)
    plain.indexes.create(
        {
            "name": name,
            "fields": {"title": {"type": "text"}},
            "embedding": {"model": encoder, "fields": ["title"]},
        }
    )
    try:
        await client.documents.bulk(
            name, [{"id": str(i), "title": text} for i, text in enumerate(texts)], refresh=True
        )
        results = await client.search(name, "baking bread", k=1)
        assert results.ids == ["1"] and results.mode == "hybrid"
        query = await client.embed("kittens as astronauts", model=encoder, task="query")
        assert (await client.search(name, vector=query[0], mode="dense", k=1)).ids == ["0"]
    finally:
        plain.indexes.delete(name)


async def test_rerank(client: AsyncClient, plain: Client, reranker: str, filled: str) -> None:
    answer = await client.rerank(
        "what do cats eat?",
        ["The harbour was paid for by a tax.", "Cats eat mice."],
        model=reranker,
        top_n=1,
        return_documents=True,
    )
    (best,) = answer["results"]
    assert best["index"] == 1 and best["document"]["text"] == "Cats eat mice."
    results = await client.search(filled, "train number", rerank={"model": reranker, "depth": 3}, k=3)
    assert results.rerank and results.rerank["scored"] == 3
