"""LangChain's standard tests, and what they do not ask for."""

from __future__ import annotations

import uuid
from typing import Any, Dict, Iterator, List, Type

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from conftest import ENCODER
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from gleaner_client import AsyncClient, BulkError, Client
from gleaner_client.langchain import GleanerRetriever, GleanerVectorStore


class TestDense(VectorStoreIntegrationTests):
    """Vectors that are made here."""

    options: Dict[str, Any] = {"mode": "dense"}

    @pytest.fixture
    def vectorstore(self, plain: Client) -> Iterator[VectorStore]:
        index = f"l{uuid.uuid4().hex[:12]}"
        yield GleanerVectorStore.create(index, embedding=self.get_embeddings(), client=plain, **self.options)
        plain.indexes.delete(index)


class TestHybrid(TestDense):
    """Words beside them."""

    options = {"mode": "hybrid"}


class TestAwaited(TestDense):
    """The client that is awaited."""

    @pytest.fixture
    async def vectorstore(self, plain: Client, url: str) -> Any:
        index = f"l{uuid.uuid4().hex[:12]}"
        async with AsyncClient(url) as client:
            yield GleanerVectorStore.create(
                index, embedding=self.get_embeddings(), client=plain, async_client=client, mode="dense"
            )
        plain.indexes.delete(index)


class TestEncodedByTheServer(VectorStoreIntegrationTests):
    """Vectors that the server makes."""

    @pytest.fixture
    def vectorstore(self, plain: Client, encoder: str) -> Iterator[VectorStore]:
        index = f"l{uuid.uuid4().hex[:12]}"
        yield GleanerVectorStore.create(index, model=encoder, client=plain)
        plain.indexes.delete(index)


class TestRetriever(RetrieversIntegrationTests):
    """The retriever, over an index of words."""

    index = "langchain-retriever"
    client: Client

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def documents(cls, plain: Client) -> Iterator[None]:
        cls.client = plain
        plain.indexes.create(
            {"name": cls.index, "fields": {"title": {"type": "text"}, "section": {"type": "keyword"}}}
        )
        plain.documents.bulk(
            cls.index,
            [{"id": str(n), "title": f"train {n}", "section": "ab"[n % 2]} for n in range(6)],
            refresh=True,
        )
        yield
        plain.indexes.delete(cls.index)

    @property
    def retriever_constructor(self) -> Type[BaseRetriever]:
        return GleanerRetriever

    @property
    def retriever_constructor_params(self) -> Dict[str, Any]:
        return {"index": self.index, "client": self.client, "text_fields": ["title"]}

    @property
    def retriever_query_example(self) -> str:
        return "train"

    def test_filters_and_metadata(self) -> None:
        retriever = GleanerRetriever(
            **self.retriever_constructor_params, filter='section = "a"', search={"sort": ["id"]}
        )
        found = retriever.invoke("train")
        assert [document.id for document in found] == ["0", "2", "4"]
        assert found[0].page_content == "train 0"
        assert found[0].metadata["section"] == "a" and "score" in found[0].metadata
        found = retriever.invoke("train", filter='id != "0"')
        assert [document.id for document in found] == ["2", "4"]


TEXTS = ["night trains are back", "bread and sourdough", "ships in the night", "night buses"]


@pytest.fixture
def store(plain: Client, name: str, encoder: str) -> Iterator[GleanerVectorStore]:
    store = GleanerVectorStore.create(
        name, model=encoder, client=plain, metadata_fields={"year": "integer", "kind": "keyword"}
    )
    store.add_texts(
        TEXTS,
        metadatas=[{"year": 2020 + n, "kind": "xy"[n % 2], "extra": {"deep": [n]}} for n in range(4)],
        ids=["a", "b", "c", "d"],
    )
    yield store
    plain.indexes.delete(name)


def ids(documents: List[Document]) -> List[Any]:
    return [document.id for document in documents]


def test_filters(store: GleanerVectorStore) -> None:
    assert set(ids(store.similarity_search("night", filter="metadata.year >= 2022"))) == {"c", "d"}
    assert set(ids(store.similarity_search("night", filter={"kind": "x"}))) == {"a", "c"}
    assert ids(store.similarity_search("night", filter={"kind": ["x"], "year": 2020})) == ["a"]
    found = store.similarity_search("night", filter={"field": "metadata.year", "eq": 2023})
    assert found == [
        Document(id="d", page_content=TEXTS[3], metadata={"year": 2023, "kind": "y", "extra": {"deep": [3]}})
    ]
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"kind": "y"}})
    assert ids(retriever.invoke("baking")) == ["b"]


def test_scores(store: GleanerVectorStore) -> None:
    scored = store.similarity_search_with_relevance_scores("sourdough bread", k=4)
    assert scored[0][0].id == "b" and all(0 <= score <= 1 for _, score in scored)
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9}
    )
    assert ids(retriever.invoke("bread and sourdough")) == ["b"]
    assert store.similarity_search("ships", k=1, mode="lexical")[0].id == "c"


def test_unlike_each_other(store: GleanerVectorStore) -> None:
    found = store.max_marginal_relevance_search("night trains", k=2, lambda_mult=0.0)
    assert ids(found)[0] == "a" and ids(found)[1] != "a"
    assert len(store.as_retriever(search_type="mmr", search_kwargs={"k": 3}).invoke("night")) == 3


async def test_all_is_deleted(store: GleanerVectorStore) -> None:
    assert store.delete() and store.similarity_search("night") == []
    await store.aadd_texts(["again"])
    assert len(await store.asimilarity_search("again")) == 1
    assert await store.adelete() and await store.asimilarity_search("again") == []


def test_what_does_not_fit_is_said(store: GleanerVectorStore) -> None:
    with pytest.raises(BulkError, match=r"metadata\.year"):
        store.add_texts(["x"], metadatas=[{"year": "soon"}])
    with pytest.raises(ValueError, match="metadatas"):
        store.add_texts(["x", "y"], metadatas=[{}])
    with pytest.raises(ValueError, match="embedding"):
        GleanerVectorStore.create("x", client=store.client)


def test_from_texts(plain: Client, name: str, encoder: str) -> None:
    store = GleanerVectorStore.from_texts(TEXTS, model=ENCODER, client=plain, index=name)
    try:
        assert len(store.similarity_search("night", k=10)) == 4
        assert store.embeddings is None
    finally:
        plain.indexes.delete(name)
