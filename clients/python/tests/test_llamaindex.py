"""The retriever for LlamaIndex."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import QueryBundle

from gleaner_client import AsyncClient, Client
from gleaner_client.llamaindex import GleanerRetriever


async def test_nodes(plain: Client, url: str, filled: str) -> None:
    retriever = GleanerRetriever(
        filled, client=plain, text_fields=["title"], top_k=2, filter="stars >= 4", search={"sort": ["stars"]}
    )
    nodes = retriever.retrieve("train")
    assert [node.node_id for node in nodes] == ["n4", "n5"]
    assert nodes[0].text == "train number 4" and nodes[0].score is not None
    assert nodes[0].metadata == {"section": "a", "stars": 4}
    again = await retriever.aretrieve("train")
    assert [node.node_id for node in again] == ["n4", "n5"]
    async with AsyncClient(url) as client:
        awaited = GleanerRetriever(filled, client=plain, async_client=client, text_fields=["title"], top_k=3)
        assert len(await awaited.aretrieve("train")) == 3


async def test_vectors(plain: Client, vectors: str) -> None:
    plain.documents.bulk(
        vectors,
        [
            {"id": "x", "title": "red", "vector": [1, 0, 0]},
            {"id": "y", "title": "blue", "vector": [0.5, 0.5, 0.5]},
        ],
        refresh=True,
    )
    retriever = GleanerRetriever(
        vectors,
        client=plain,
        text_fields=["title"],
        top_k=1,
        search={"mode": "dense"},
        embed_model=MockEmbedding(3),
    )
    assert [node.node_id for node in retriever.retrieve("anything")] == ["y"]
    assert [node.node_id for node in await retriever.aretrieve("anything")] == ["y"]
    bundle = QueryBundle("anything", embedding=[1.0, 0.0, 0.0])
    assert [node.node_id for node in retriever.retrieve(bundle)] == ["x"]


def test_passages(plain: Client, encoder: str, name: str) -> None:
    plain.indexes.create(
        {
            "name": name,
            "fields": {"body": {"type": "text"}},
            "embedding": {"model": encoder, "fields": ["body"], "passages": {"max_tokens": 32, "overlap": 0}},
        }
    )
    try:
        body = "Bread rises by yeast. " * 10 + "Ships sail over the sea at night. " * 10
        plain.documents.put(name, "d", {"body": body}, refresh=True)
        (node,) = GleanerRetriever(name, client=plain, text_fields=["body"], passages=True).retrieve(
            "ocean travel"
        )
        assert "Ships" in node.text and len(node.text) < len(body)
    finally:
        plain.indexes.delete(name)
