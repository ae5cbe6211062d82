"""Gleaner for LangChain: a vector store, and a retriever over any index.

```python
from gleaner_client.langchain import GleanerVectorStore

store = GleanerVectorStore.create("notes", model="gleaner-minilm", metadata_fields={"year": "integer"})
store.add_texts(["Night trains are back."], metadatas=[{"year": 2026}])
store.similarity_search("sleeping on rails", k=1, filter="metadata.year >= 2020")
```
"""

from __future__ import annotations

from functools import partial
from typing import (
    Any,
    AsyncIterator,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)
from uuid import uuid4

import anyio.to_thread

try:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
    from pydantic import ConfigDict, Field
except ImportError as error:
    raise ImportError("LangChain is needed for this: pip install 'gleaner-client[langchain]'") from error

from . import types as t
from ._async.client import AsyncClient
from ._store import both, definition, everything, in_parts, metadata_of, nothing, text_of
from ._sync.client import Client
from .results import Hit, SearchResults

__all__ = ["GleanerRetriever", "GleanerVectorStore"]

T = TypeVar("T")
TEXT, METADATA, VECTOR = "text", "metadata", "vector"
#: Texts that are encoded at a time.
TEXTS = 128


class GleanerVectorStore(VectorStore):
    """Texts with metadata in an index, which `create` makes.

    With `embedding` texts and queries are encoded by that; without one the server encodes them, by the
    model of the index. `mode` is how `similarity_search` finds: by words and vectors (`hybrid`), or by
    one of the two (`dense`, `lexical`). Filters are the server's, a text or an object, over the
    metadata that the index has fields for (`metadata.year >= 2020`); a plain `dict` of names and values
    means that all of these are so. Asynchronous methods use `async_client` if there is one, else the
    other one in a thread.
    """

    def __init__(
        self,
        index: str,
        *,
        embedding: Optional[Embeddings] = None,
        client: Optional[Client] = None,
        async_client: Optional[AsyncClient] = None,
        mode: t.Mode = "hybrid",
        search: Optional[t.SearchRequest] = None,
    ) -> None:
        self.index = index
        self.client = client or Client()
        self.async_client = async_client
        self.mode = mode
        #: What every search asks for beside (`rerank`, `fusion`, `candidates` and so on).
        self.options: Dict[str, Any] = dict(search or {})
        self._embedding = embedding

    @classmethod
    def create(
        cls,
        index: str,
        *,
        embedding: Optional[Embeddings] = None,
        model: Optional[str] = None,
        dimensions: Optional[int] = None,
        metadata_fields: Optional[Mapping[str, Any]] = None,
        language: Optional[str] = None,
        client: Optional[Client] = None,
        async_client: Optional[AsyncClient] = None,
        **options: Any,
    ) -> GleanerVectorStore:
        """The store in a new index. `metadata_fields` are the metadata that filters may name, each with
        its type (`keyword`, `integer`, `float`, `date`, `boolean`) or its field's definition; whatever
        else a document has is stored. With `embedding`, `dimensions` is how long its vectors are, and
        is tried out if it is not said; otherwise `model` names the server's encoder."""
        if (embedding is None) == (model is None):
            raise ValueError("either `embedding` or `model` says what texts are encoded by")
        if embedding is not None and dimensions is None:
            dimensions = len(embedding.embed_query("how long is this?"))
        client = client or Client()
        client.indexes.create(
            definition(
                index,
                text=TEXT,
                metadata=METADATA,
                fields=metadata_fields,
                language=language,
                model=model,
                vector=VECTOR,
                dimensions=dimensions,
            )
        )
        return cls(index, embedding=embedding, client=client, async_client=async_client, **options)

    @classmethod
    def from_texts(
        cls,
        texts: List[str],
        embedding: Optional[Embeddings] = None,
        metadatas: Optional[List[dict[str, Any]]] = None,
        *,
        ids: Optional[List[str]] = None,
        index: str = "langchain",
        **options: Any,
    ) -> GleanerVectorStore:
        """A store in a new index, with these texts. The options are those of `create`."""
        store = cls.create(index, embedding=embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @property
    def embeddings(self) -> Optional[Embeddings]:
        """What encodes texts, if it is not the server."""
        return self._embedding

    # Writing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Optional[List[dict[str, Any]]] = None,
        *,
        ids: Optional[Sequence[Optional[str]]] = None,
        **kwargs: Any,
    ) -> List[str]:
        """Adds texts, or puts them in the place of those with their ids; returns the ids. They are
        visible to searches then."""
        documents = _documents(texts, metadatas, ids)
        encoded = self._encoded(documents)
        self.client.bulk_stream(self.index, encoded, refresh=True, max_rejected=0)
        return [document["id"] for document in documents]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Optional[List[dict[str, Any]]] = None,
        *,
        ids: Optional[Sequence[Optional[str]]] = None,
        **kwargs: Any,
    ) -> List[str]:
        """The same, awaited."""
        if self.async_client is None:
            return await _in_thread(partial(self.add_texts, texts, metadatas, ids=ids, **kwargs))
        documents = _documents(texts, metadatas, ids)
        encoded = self._aencoded(documents)
        await self.async_client.bulk_stream(self.index, encoded, refresh=True, max_rejected=0)
        return [document["id"] for document in documents]

    def _encoded(self, documents: List[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
        for part in in_parts(documents, TEXTS):
            if self._embedding is None:
                yield from part
                continue
            vectors = self._embedding.embed_documents([document[TEXT] for document in part])
            for document, vector in zip(part, vectors):
                yield {**document, VECTOR: vector}

    async def _aencoded(self, documents: List[Dict[str, Any]]) -> AsyncIterator[Dict[str, Any]]:
        for part in in_parts(documents, TEXTS):
            vectors: Optional[List[List[float]]] = None
            if self._embedding is not None:
                vectors = await self._embedding.aembed_documents([document[TEXT] for document in part])
            for n, document in enumerate(part):
                yield document if vectors is None else {**document, VECTOR: vectors[n]}

    def delete(self, ids: Optional[List[str]] = None, **kwargs: Any) -> Optional[bool]:
        """Deletes by ids, of which some may not be there; all where none are given."""
        if ids is None:
            self.client.documents.delete_by_filter(self.index, everything(), refresh=True)
            return True
        for part in in_parts(ids, 1000):
            operations: List[t.BulkOperation] = [{"delete": id} for id in part]
            _all_done(self.client.documents.operations(self.index, operations, refresh=True))
        return True

    async def adelete(self, ids: Optional[List[str]] = None, **kwargs: Any) -> Optional[bool]:
        """The same, awaited."""
        if self.async_client is None:
            return await _in_thread(partial(self.delete, ids, **kwargs))
        if ids is None:
            await self.async_client.documents.delete_by_filter(self.index, everything(), refresh=True)
            return True
        for part in in_parts(ids, 1000):
            operations: List[t.BulkOperation] = [{"delete": id} for id in part]
            _all_done(await self.async_client.documents.operations(self.index, operations, refresh=True))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> List[Document]:
        """Those of these ids that there are, in their order."""
        found: Dict[str, Document] = {}
        for part in in_parts(list(ids), 500):
            results = self.client.search(self.index, **_by_ids(part))
            found.update((hit.id, _document(hit)) for hit in results)
        return [found[id] for id in dict.fromkeys(ids) if id in found]

    async def aget_by_ids(self, ids: Sequence[str], /) -> List[Document]:
        """The same, awaited."""
        if self.async_client is None:
            return await _in_thread(partial(self.get_by_ids, ids))
        found: Dict[str, Document] = {}
        for part in in_parts(list(ids), 500):
            results = await self.async_client.search(self.index, **_by_ids(part))
            found.update((hit.id, _document(hit)) for hit in results)
        return [found[id] for id in dict.fromkeys(ids) if id in found]

    # Searching

    def similarity_search(self, query: str, k: int = 4, filter: Any = None, **kwargs: Any) -> List[Document]:
        """The documents that answer a query best. Other members are those of a search."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Any = None, **kwargs: Any
    ) -> List[Tuple[Document, float]]:
        """The same with scores, of which more is better."""
        vector = None
        if self._embedding is not None and kwargs.get("mode", self.mode) != "lexical":
            vector = self._embedding.embed_query(query)
        return _scored(self.client.search(self.index, **self._search(query, vector, k, filter, kwargs)))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: Any = None, **kwargs: Any
    ) -> List[Document]:
        """The same, awaited."""
        found = await self.asimilarity_search_with_score(query, k, filter, **kwargs)
        return [document for document, _ in found]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Any = None, **kwargs: Any
    ) -> List[Tuple[Document, float]]:
        """The same with scores, of which more is better, awaited."""
        if self.async_client is None:
            return await _in_thread(partial(self.similarity_search_with_score, query, k, filter, **kwargs))
        vector = None
        if self._embedding is not None and kwargs.get("mode", self.mode) != "lexical":
            vector = await self._embedding.aembed_query(query)
        request = self._search(query, vector, k, filter, kwargs)
        return _scored(await self.async_client.search(self.index, **request))

    def similarity_search_by_vector(
        self, embedding: List[float], k: int = 4, filter: Any = None, **kwargs: Any
    ) -> List[Document]:
        """The nearest documents to a vector."""
        request = {**self.options, "k": k, "filter": _filter(filter), **kwargs, "mode": "dense"}
        return [_document(hit) for hit in self.client.search(self.index, vector=embedding, **request)]

    async def asimilarity_search_by_vector(
        self, embedding: List[float], k: int = 4, filter: Any = None, **kwargs: Any
    ) -> List[Document]:
        """The same, awaited."""
        if self.async_client is None:
            return await _in_thread(partial(self.similarity_search_by_vector, embedding, k, filter, **kwargs))
        request = {**self.options, "k": k, "filter": _filter(filter), **kwargs, "mode": "dense"}
        results = await self.async_client.search(self.index, vector=embedding, **request)
        return [_document(hit) for hit in results]

    def _search(
        self, query: str, vector: Optional[List[float]], k: int, filter: Any, more: Mapping[str, Any]
    ) -> Dict[str, Any]:
        request = {**self.options, "mode": self.mode, **more, "k": k, "filter": _filter(filter)}
        if vector is not None:
            request["vector"] = vector
        # With a vector of its own, a dense search needs no words.
        if vector is None or request["mode"] != "dense" or request.get("rerank"):
            request["query"] = query
        return request

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Scores from 0 to 1: those of words alone have no bound and are bent, cosines are cut at 0."""
        if self.mode == "lexical":
            return lambda score: score / (1.0 + score)
        return lambda score: min(1.0, max(0.0, score))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Any = None,
        **kwargs: Any,
    ) -> List[Document]:
        """Documents that answer a query and are unlike each other: `k` of the `fetch_k` nearest. The
        vectors of these are asked for one by one."""
        vector = self._vector(query)
        request = {**self.options, **kwargs, "k": fetch_k, "filter": _filter(filter), "mode": "dense"}
        hits = self.client.search(self.index, vector=vector, **request).hits
        vectors = [_vector_of(self.client.documents.get(self.index, hit.id, vectors=True)) for hit in hits]
        return _diverse(vector, hits, vectors, k, lambda_mult)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Any = None,
        **kwargs: Any,
    ) -> List[Document]:
        """The same, awaited."""
        return await _in_thread(
            partial(self.max_marginal_relevance_search, query, k, fetch_k, lambda_mult, filter, **kwargs)
        )

    def _vector(self, query: str) -> List[float]:
        if self._embedding is not None:
            return self._embedding.embed_query(query)
        embedding = self.client.indexes.get(self.index)["definition"].get("embedding")
        model = (embedding or {}).get("model")
        if not model:
            raise ValueError(f"index {self.index!r} has no model to encode a query by")
        return self.client.embed(query, model=model, task="query")[0]


class GleanerRetriever(BaseRetriever):
    """Documents of any index as LangChain's.

    `text_fields` are the fields that make the content, joined by line breaks; with `passages`, of an
    index that cuts texts, it is the passage that was nearest. `metadata_field` is the object that is
    the metadata; without it, all other fields are. `search` is what every search asks for beside.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: str
    client: Client = Field(default_factory=Client)
    async_client: Optional[AsyncClient] = None
    k: int = 4
    text_fields: List[str] = Field(default_factory=lambda: [TEXT])
    metadata_field: Optional[str] = None
    passages: bool = False
    filter: Any = None
    search: Dict[str, Any] = Field(default_factory=dict)
    #: What encodes queries, for indexes whose documents bring their vectors.
    embedding: Optional[Embeddings] = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> List[Document]:
        vector = self.embedding.embed_query(query) if self.embedding is not None else None
        return self._documents(self.client.search(self.index, query, **self._request(vector, kwargs)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> List[Document]:
        vector = await self.embedding.aembed_query(query) if self.embedding is not None else None
        request = self._request(vector, kwargs)
        if self.async_client is None:
            return self._documents(
                await _in_thread(partial(self.client.search, self.index, query, **request))
            )
        return self._documents(await self.async_client.search(self.index, query, **request))

    def _request(self, vector: Optional[List[float]], more: Mapping[str, Any]) -> Dict[str, Any]:
        request = {"k": self.k, **self.search, **more}
        request["filter"] = both(_filter(self.filter), _filter(request.get("filter")))
        if vector is not None:
            request["vector"] = vector
        return request

    def _documents(self, results: SearchResults) -> List[Document]:
        return [
            Document(
                id=hit.id,
                page_content=text_of(hit, self.text_fields, self.passages),
                metadata={
                    **metadata_of(hit, self.text_fields, self.metadata_field),
                    "score": hit.score,
                },
            )
            for hit in results
        ]


def _documents(
    texts: Iterable[str],
    metadatas: Optional[List[dict[str, Any]]],
    ids: Optional[Sequence[Optional[str]]],
) -> List[Dict[str, Any]]:
    listed = list(texts)
    for name, values in (("metadatas", metadatas), ("ids", ids)):
        if values is not None and len(values) != len(listed):
            raise ValueError(f"{len(listed)} texts have {len(values)} {name}")
    return [
        {
            "id": (ids[n] if ids else None) or str(uuid4()),
            TEXT: text,
            METADATA: metadatas[n] if metadatas else {},
        }
        for n, text in enumerate(listed)
    ]


def _all_done(answer: t.BulkAnswer) -> None:
    for item in answer["items"]:
        failure = item.get("error")
        if failure and failure["code"] != "document_not_found":
            from .errors import error_of

            raise error_of(failure)


def _by_ids(ids: Sequence[str]) -> Dict[str, Any]:
    chosen = {"field": "id", "in": list(ids)} if ids else nothing()
    return {"sort": ["id"], "filter": chosen, "k": max(1, len(ids))}


def _filter(filter: Any) -> Any:
    """The server's filter; `{"year": 2026}` means `metadata.year = 2026`."""
    if not isinstance(filter, Mapping) or not filter:
        return filter
    if {"and", "or", "not", "field"} & set(filter):
        return dict(filter)
    return {
        "and": [
            {"field": f"{METADATA}.{name}", "in" if isinstance(value, list) else "eq": value}
            for name, value in filter.items()
        ]
    }


def _document(hit: Hit) -> Document:
    return Document(
        id=hit.id,
        page_content=hit.document.get(TEXT) or "",
        metadata=dict(hit.document.get(METADATA) or {}),
    )


def _scored(results: SearchResults) -> List[Tuple[Document, float]]:
    return [(_document(hit), hit.score) for hit in results]


def _vector_of(answer: t.DocumentAnswer) -> List[float]:
    vectors = answer.get("vectors")
    if not vectors:
        raise ValueError(f"document {answer['id']!r} has no vector")
    return vectors[0]["values"]


def _diverse(
    vector: List[float], hits: List[Hit], vectors: List[List[float]], k: int, lambda_mult: float
) -> List[Document]:
    import numpy

    chosen = maximal_marginal_relevance(numpy.array(vector), vectors, lambda_mult, k)
    return [_document(hits[n]) for n in chosen]


async def _in_thread(work: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(work)
