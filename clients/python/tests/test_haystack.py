"""Haystack's standard tests of document stores, and what they do not ask for."""

from __future__ import annotations

import uuid
from typing import Any, Dict, Iterator, List

import pytest

pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing import document_store as standard
from haystack.testing import document_store_async as standard_async

from gleaner_client import Client
from gleaner_client.haystack import GleanerDocumentStore, GleanerRetriever

#: Metadata of the documents of the standard tests.
FIELDS = {
    "name": "keyword",
    "page": "keyword",
    "chapter": "keyword",
    "number": "integer",
    "date": "date",
    "no_embedding": "boolean",
    "category": "keyword",
    "year": "integer",
    "status": "keyword",
    "updated": "boolean",
    "extra_field": "keyword",
    "featured": "boolean",
    "priority": "integer",
}


class Store:
    """A store in an index of its own; documents are compared whatever their order."""

    options: Dict[str, Any] = {"dimensions": 768}

    @pytest.fixture
    def document_store(self, plain: Client) -> Iterator[GleanerDocumentStore]:
        index = f"h{uuid.uuid4().hex[:12]}"
        store = GleanerDocumentStore(
            index, url=plain.url, meta_fields=FIELDS, return_embedding=True, **self.options
        )
        yield store
        store.close()
        plain.indexes.delete(index, missing_ok=True)

    @staticmethod
    def assert_documents_are_equal(received: List[Document], expected: List[Document]) -> None:
        """The index has an order by ids, not by writing."""
        by_id = sorted(expected, key=lambda document: document.id)
        assert sorted(received, key=lambda document: document.id) == by_id

    def test_write_documents(self, document_store: GleanerDocumentStore) -> None:
        """Without a policy, documents that are there are an error."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


class TestVectors(  # type: ignore[misc]
    Store,
    standard.DocumentStoreBaseExtendedTests,
    standard.CountDocumentsByFilterTest,
):
    """Documents bring their embeddings."""


class TestWords(  # type: ignore[misc]
    Store,
    standard.DocumentStoreBaseExtendedTests,
    standard.CountDocumentsByFilterTest,
):
    """No vectors."""

    options: Dict[str, Any] = {}


class TestAwaited(
    Store,
    standard_async.CountDocumentsAsyncTest,
    standard_async.WriteDocumentsAsyncTest,
    standard_async.DeleteDocumentsAsyncTest,
    standard_async.FilterDocumentsAsyncTest,
    standard_async.DeleteAllAsyncTest,
    standard_async.DeleteByFilterAsyncTest,
    standard_async.UpdateByFilterAsyncTest,
    standard_async.CountDocumentsByFilterAsyncTest,
):
    """The same, awaited."""

    options: Dict[str, Any] = {}

    async def test_write_documents_async(self, document_store: GleanerDocumentStore) -> None:
        """Without a policy, documents that are there are an error."""
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


@pytest.fixture
def store(plain: Client, name: str) -> Iterator[GleanerDocumentStore]:
    store = GleanerDocumentStore(name, url=plain.url, meta_fields={"year": "integer"}, dimensions=3)
    yield store
    store.close()
    plain.indexes.delete(name, missing_ok=True)


def ids(documents: List[Document]) -> List[str]:
    return [document.id for document in documents]


async def test_retriever(store: GleanerDocumentStore) -> None:
    store.write_documents(
        [
            Document(id="a", content="night trains", embedding=[0.0, 1.0, 0.0], meta={"year": 2020}),
            Document(id="b", content="sourdough bread", embedding=[0.0, 0.0, 1.0], meta={"year": 2021}),
            Document(id="c", content="night buses", meta={"year": 2022}),
            Document(id="d", content="", embedding=[0.0, 0.0, 0.0]),
        ]
    )
    retriever = GleanerRetriever(document_store=store, top_k=2)
    assert set(ids(retriever.run(query="night")["documents"])) == {"a", "c"}
    found = retriever.run(query_embedding=[1.0, 0.1, 0.9], top_k=10)["documents"]
    assert ids(found) == ["b", "a"] and found[0].embedding is None and found[0].score
    assert ids(retriever.run(query="bread", query_embedding=[0.0, 0.1, 1.0])["documents"])[0] == "b"
    recent = {"field": "meta.year", "operator": ">", "value": 2020}
    assert ids(retriever.run(query="night", filters=recent)["documents"]) == ["c"]
    merged = GleanerRetriever(document_store=store, filters=recent, filter_policy="merge")
    # Of two conditions on one field Haystack keeps one.
    other = {"field": "id", "operator": "!=", "value": "c"}
    assert ids(merged.run(query="night bread", filters=other)["documents"]) == ["b"]
    with pytest.raises(ValueError, match="needed"):
        retriever.run()

    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["gleaner_client.haystack"])
    assert set(ids(again.run({"retriever": {"query": "night"}})["retriever"]["documents"])) == {"a", "c"}
    awaited = Pipeline()
    awaited.add_component("retriever", GleanerRetriever(document_store=store))
    found = (await awaited.run_async({"retriever": {"query": "bread"}}))["retriever"]["documents"]
    assert ids(found) == ["b"]


def test_documents_come_back_whole(store: GleanerDocumentStore) -> None:
    document = Document(
        id="x",
        content=None,
        blob=ByteStream(b"\x00\xff", meta={"a": 1}, mime_type="image/png"),
        meta={"year": None, "deep": {"list": [1, {"x": None}]}, "a.b": 1},
    )
    assert store.write_documents([document], DuplicatePolicy.OVERWRITE) == 1
    assert store.filter_documents() == [document]


def test_what_does_not_fit_is_said(store: GleanerDocumentStore) -> None:
    for policy in (DuplicatePolicy.OVERWRITE, DuplicatePolicy.FAIL):
        with pytest.raises(DocumentStoreError, match=r"meta\.year"):
            store.write_documents([Document(content="x", meta={"year": "soon"})], policy)
    with pytest.raises(FilterError, match="meta_fields"):
        store.filter_documents({"field": "meta.other", "operator": "==", "value": 1})
    with pytest.raises(FilterError, match="no operator"):
        store.filter_documents({"field": "meta.year", "operator": "~", "value": 1})
    with pytest.raises(ValueError, match="say one"):
        GleanerDocumentStore(model="m", dimensions=3)


def test_encoded_by_the_server(plain: Client, name: str, encoder: str) -> None:
    store = GleanerDocumentStore(name, url=plain.url, model=encoder)
    try:
        store.write_documents(
            [Document(content="the first cat in space"), Document(content="how bread rises")]
        )
        retriever = GleanerRetriever(document_store=store, mode="dense", top_k=1)
        assert (
            retriever.run(query="kittens as astronauts")["documents"][0].content == "the first cat in space"
        )
    finally:
        store.close()
        plain.indexes.delete(name)
