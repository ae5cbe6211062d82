"""Gleaner for Haystack: a document store, and a retriever over it.

```python
from haystack import Document
from gleaner_client.haystack import GleanerDocumentStore, GleanerRetriever

store = GleanerDocumentStore("notes", model="gleaner-minilm", meta_fields={"year": "integer"})
store.write_documents([Document(content="Night trains are back.", meta={"year": 2026})])
retriever = GleanerRetriever(document_store=store, top_k=3)
retriever.run(query="sleeping on rails")["documents"]
```
"""

import base64
import datetime
import threading
from array import array
from functools import partial
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import anyio.to_thread

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
    from haystack.document_stores.types.filter_policy import apply_filter_policy
    from haystack.errors import FilterError
    from haystack.utils import Secret, deserialize_secrets_inplace
except ImportError as error:
    raise ImportError("Haystack is needed for this: pip install 'gleaner-client[haystack]'") from error

from . import types as t
from ._store import both, definition, everything, in_parts, nothing
from ._sync.client import Client
from .errors import BulkError, InvalidRequestError, error_of
from .results import Hit

__all__ = ["GleanerDocumentStore", "GleanerRetriever", "to_filter"]

#: Operations of a request.
OPERATIONS = 1000
#: Which values go with the fields of a type.
VALUES: Dict[str, tuple[type, ...]] = {
    "keyword": (str,),
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "date": (str, datetime.date),
}


class GleanerDocumentStore:
    """Documents in an index, which is made when it is first used and is not there.

    `meta_fields` are the members of `meta` that filters may name, each with its type (`keyword`,
    `integer`, `float`, `date`, `boolean`) or its field's definition; all others are stored. Documents
    are found by their words, and by vectors: those of `model`, which the server makes of their content,
    or those of `dimensions` numbers that they bring as their `embedding`, which not all need to.
    Embeddings come back with documents only with `return_embedding`, which keeps a second copy of
    them, to the bit.
    """

    def __init__(
        self,
        index: str = "haystack",
        *,
        url: Optional[str] = None,
        api_key: Secret = Secret.from_env_var("GLEANER_API_KEY", strict=False),  # noqa: B008
        model: Optional[str] = None,
        dimensions: Optional[int] = None,
        metric: Optional[str] = None,
        language: Optional[str] = None,
        meta_fields: Optional[Dict[str, Any]] = None,
        return_embedding: bool = False,
        timeout: float = 60.0,
    ) -> None:
        if model is not None and dimensions is not None:
            raise ValueError("vectors are those of `model`, or have so many `dimensions`: say one")
        self.index = index
        self.url = url
        self.api_key = api_key
        self.model = model
        self.dimensions = dimensions
        self.metric = metric
        self.language = language
        self.meta_fields = dict(meta_fields or {})
        self.return_embedding = return_embedding
        self.timeout = timeout
        self._client: Optional[Client] = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Client:
        """A client of the server, with the index there."""
        with self._lock:
            if self._client is None:
                client = Client(self.url, api_key=self.api_key.resolve_value(), timeout=self.timeout)
                if not client.indexes.exists(self.index):
                    client.indexes.create(self._definition())
                self._client = client
            return self._client

    def _definition(self) -> t.Definition:
        return definition(
            self.index,
            text="content",
            metadata="meta",
            fields=self.meta_fields,
            language=self.language,
            model=self.model,
            vector="embedding",
            dimensions=self.dimensions,
            metric=self.metric,
            more={"embedded": {"type": "boolean"}},
        )

    def close(self) -> None:
        """Lets go of the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def to_dict(self) -> Dict[str, Any]:
        """The store without its documents, as a pipeline is saved."""
        return default_to_dict(
            self,
            index=self.index,
            url=self.url,
            api_key=self.api_key.to_dict(),
            model=self.model,
            dimensions=self.dimensions,
            metric=self.metric,
            language=self.language,
            meta_fields=self.meta_fields,
            return_embedding=self.return_embedding,
            timeout=self.timeout,
        )

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "GleanerDocumentStore":
        """The store of what `to_dict` said."""
        deserialize_secrets_inplace(data["init_parameters"], ["api_key"])
        store: GleanerDocumentStore = default_from_dict(cls, data)
        return store

    # Documents

    def count_documents(self) -> int:
        """How many there are."""
        return int(self.client.indexes.get(self.index)["stats"]["documents"])

    def count_documents_by_filter(self, filters: Dict[str, Any]) -> int:
        """How many pass a filter."""
        return self.client.search(self.index, sort=["id"], k=1, filter=self._filter(filters)).total

    def filter_documents(self, filters: Optional[Dict[str, Any]] = None) -> List[Document]:
        """Those that pass a filter, in the order of their ids."""
        return [self._document(hit, None) for hit in self._hits(filters)]

    def _hits(self, filters: Optional[Dict[str, Any]]) -> Iterator[Hit]:
        chosen = self._filter(filters)
        return self.client.search_all(self.index, sort=["id"], filter=chosen, page_size=500)

    def write_documents(
        self, documents: List[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Writes documents; how many were. With `FAIL`, as by default, those that are not there yet are
        written before the others are an error."""
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("documents have to be a list of haystack's Document")
        if policy == DuplicatePolicy.OVERWRITE:
            try:
                found = self.client.bulk_stream(
                    self.index, map(self._stored, documents), refresh=True, max_rejected=0
                )
            except BulkError as failed:
                raise DocumentStoreError(str(failed)) from failed
            return found.written
        written, there = 0, []
        for part in in_parts(documents, OPERATIONS):
            operations: List[t.BulkOperation] = [{"put": self._stored(one), "if_version": 0} for one in part]
            answer = self.client.documents.operations(self.index, operations, refresh=True)
            written += answer["written"]
            for document, item in zip(part, answer["items"]):
                failure = item.get("error")
                if failure is None:
                    continue
                if failure["code"] != "version_conflict":
                    raise DocumentStoreError(f"document {document.id!r}: {error_of(failure)}")
                there.append(document.id)
        if there and policy != DuplicatePolicy.SKIP:
            raise DuplicateDocumentError(f"there are documents of these ids already: {there}")
        return written

    def delete_documents(self, document_ids: List[str]) -> None:
        """Deletes documents, of which some may not be there."""
        for part in in_parts(document_ids, OPERATIONS):
            operations: List[t.BulkOperation] = [{"delete": id} for id in part]
            self._run(operations)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Deletes all. With `recreate_index` the index is made anew, by what this store was told of it;
        that is faster, and searches find no index for a moment."""
        if recreate_index:
            self.client.indexes.delete(self.index)
            self.client.indexes.create(self._definition())
        else:
            self.client.documents.delete_by_filter(self.index, everything(), refresh=True)

    def delete_by_filter(self, filters: Dict[str, Any]) -> int:
        """Deletes those that pass a filter; how many there were."""
        return self.client.documents.delete_by_filter(self.index, self._filter(filters), refresh=True)

    def update_by_filter(self, filters: Dict[str, Any], meta: Dict[str, Any]) -> int:
        """Sets these members of `meta` in those that pass a filter; how many there were. `None` removes
        a member, and an object is merged into the one that is there."""
        ids = [hit.id for hit in self._hits(filters)]
        for part in in_parts(ids, OPERATIONS):
            operations: List[t.BulkOperation] = [{"update": {"id": id, **self._split(meta)}} for id in part]
            self._run(operations)
        return len(ids)

    def _run(self, operations: Sequence[t.BulkOperation]) -> None:
        answer = self.client.documents.operations(self.index, operations, refresh=True)
        for item in answer["items"]:
            failure = item.get("error")
            if failure is not None and failure["code"] != "document_not_found":
                raise DocumentStoreError(f"document {item.get('id')!r}: {error_of(failure)}")

    def retrieve(
        self,
        query: Optional[str] = None,
        query_embedding: Optional[List[float]] = None,
        *,
        filters: Optional[Dict[str, Any]] = None,
        top_k: int = 10,
        mode: Optional[t.Mode] = None,
        search: Optional[Mapping[str, Any]] = None,
    ) -> List[Document]:
        """The documents that answer a query, an embedding, or both together best. Other members of the
        request are in `search`."""
        if query is None and query_embedding is None:
            raise ValueError("a query or an embedding is needed")
        chosen = self._filter(filters)
        if query is None or mode == "dense":
            # What has no embedding is near to nothing.
            chosen = both(chosen, {"field": "embedded", "eq": True}) if self.dimensions else chosen
        request: Dict[str, Any] = {**(search or {}), "k": top_k, "filter": chosen, "mode": mode}
        try:
            results = self.client.search(self.index, query, vector=query_embedding, **request)
        except InvalidRequestError as failed:
            if failed.code == "invalid_filter":
                raise FilterError(str(failed)) from failed
            raise
        return [self._document(hit, hit.score) for hit in results]

    # The same, awaited

    async def count_documents_async(self) -> int:
        """The same, awaited."""
        return await anyio.to_thread.run_sync(self.count_documents)

    async def count_documents_by_filter_async(self, filters: Dict[str, Any]) -> int:
        """The same, awaited."""
        return await anyio.to_thread.run_sync(self.count_documents_by_filter, filters)

    async def filter_documents_async(self, filters: Optional[Dict[str, Any]] = None) -> List[Document]:
        """The same, awaited."""
        return await anyio.to_thread.run_sync(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: List[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """The same, awaited."""
        return await anyio.to_thread.run_sync(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: List[str]) -> None:
        """The same, awaited."""
        await anyio.to_thread.run_sync(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        """The same, awaited."""
        await anyio.to_thread.run_sync(self.delete_all_documents, recreate_index)

    async def delete_by_filter_async(self, filters: Dict[str, Any]) -> int:
        """The same, awaited."""
        return await anyio.to_thread.run_sync(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: Dict[str, Any], meta: Dict[str, Any]) -> int:
        """The same, awaited."""
        return await anyio.to_thread.run_sync(self.update_by_filter, filters, meta)

    # Between Haystack's documents and the index's

    def _split(self, meta: Mapping[str, Any]) -> Dict[str, Any]:
        """Metadata with fields of their own, and the rest, which is stored as it is."""
        known = {name: value for name, value in meta.items() if name in self.meta_fields}
        others = {name: value for name, value in meta.items() if name not in self.meta_fields}
        split: Dict[str, Any] = {}
        if known:
            split["meta"] = known
        if others:
            split["rest"] = {"meta": others}
        return split

    def _stored(self, document: Document) -> Dict[str, Any]:
        rest = document.to_dict(flatten=False)
        for name in ("id", "content", "meta", "embedding", "score"):
            rest.pop(name, None)
        rest = {name: value for name, value in rest.items() if value is not None}
        stored: Dict[str, Any] = {"id": document.id, **self._split(document.meta)}
        if document.content is not None:
            stored["content"] = document.content
        embedding = document.embedding
        if embedding is not None and self.return_embedding:
            rest["embedding"] = base64.b64encode(array("d", embedding).tobytes()).decode()
        if self.dimensions:
            # Every document of such an index has a vector. One of zeros is like no other.
            stored["embedded"] = embedding is not None and any(embedding)
            stored["embedding"] = embedding if stored["embedded"] else [1.0] + [0.0] * (self.dimensions - 1)
        if rest:
            stored["rest"] = {**stored.get("rest", {}), **rest}
        return stored

    def _document(self, hit: Hit, score: Optional[float]) -> Document:
        rest = dict(hit.document.get("rest") or {})
        meta = {**(hit.document.get("meta") or {}), **(rest.pop("meta", None) or {})}
        embedding = rest.pop("embedding", None)
        if embedding is not None:
            embedding = array("d", base64.b64decode(embedding)).tolist() if self.return_embedding else None
        document: Document = Document.from_dict(
            {
                **rest,
                "id": hit.id,
                "content": hit.document.get("content"),
                "meta": meta,
                "embedding": embedding,
                "score": score,
            }
        )
        return document

    def _filter(self, filters: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
        return to_filter(filters, self.meta_fields) if filters else None


def to_filter(filters: Dict[str, Any], meta_fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Haystack's filters as the server's. `FilterError` for what is malformed, for metadata without a
    field, and for what fields of the type have no order for."""
    if not isinstance(filters, dict):
        raise FilterError(f"a filter has to be a dict, and is a {type(filters).__name__}")
    if "field" in filters:
        return _comparison(filters, meta_fields)
    for name in ("operator", "conditions"):
        if name not in filters:
            raise FilterError(f"{name!r} is missing in {filters}")
    operator = filters["operator"]
    conditions = [to_filter(condition, meta_fields) for condition in filters["conditions"]]
    if operator == "AND":
        return {"and": conditions}
    if operator == "OR":
        return {"or": conditions}
    if operator == "NOT":
        return {"not": {"and": conditions}}
    raise FilterError(f"{operator!r} is no operator: AND, OR, NOT")


def _comparison(condition: Dict[str, Any], meta_fields: Mapping[str, Any]) -> Dict[str, Any]:
    for name in ("operator", "value"):
        if name not in condition:
            raise FilterError(f"{name!r} is missing in {condition}")
    field, kind = _field(str(condition["field"]), meta_fields)
    operator, value = condition["operator"], condition["value"]
    if operator == "==":
        return _equal(field, kind, value)
    if operator == "!=":
        return {"not": _equal(field, kind, value)}
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"{operator!r} needs a list, and has a {type(value).__name__}")
        among = {"or": [nothing(), *(_equal(field, kind, one) for one in value)]}
        return among if operator == "in" else {"not": among}
    if operator in RANGES:
        return _range(field, kind, operator, value)
    raise FilterError(f"{operator!r} is no operator: ==, !=, >, >=, <, <=, in, not in")


RANGES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def _field(name: str, meta_fields: Mapping[str, Any]) -> "tuple[str, str]":
    """The server's field and its type."""
    if name == "id":
        return "id", "keyword"
    short = name[len("meta.") :] if name.startswith("meta.") else name
    known = meta_fields.get(short)
    if known is None:
        raise FilterError(
            f"metadata {short!r} has no field to filter by: name it in `meta_fields` where the "
            f"index is made; there are {sorted(meta_fields)}"
        )
    return f"meta.{short}", known if isinstance(known, str) else str(known["type"])


def _fits(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "date":
        return isinstance(value, datetime.date) or (isinstance(value, str) and _is_date(value))
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, VALUES.get(kind, ()))


def _is_date(value: str) -> bool:
    try:
        datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _value(kind: str, value: Any) -> Any:
    if kind == "integer":
        return int(value)
    return value.isoformat() if isinstance(value, datetime.date) else value


def _equal(field: str, kind: str, value: Any) -> Dict[str, Any]:
    if value is None:
        return {"not": {"field": field, "exists": True}}
    # A value of another type is no value of the field.
    return {"field": field, "eq": _value(kind, value)} if _fits(kind, value) else nothing()


def _range(field: str, kind: str, operator: str, value: Any) -> Dict[str, Any]:
    if value is None:
        return nothing()
    if isinstance(value, (list, dict, tuple)):
        raise FilterError(f"{operator!r} has no meaning for a {type(value).__name__}")
    if kind in ("keyword", "boolean"):
        raise FilterError(f"{field} is a {kind}, which has no order: numbers and dates do")
    number = kind == "integer" and isinstance(value, float)
    if not number and not _fits(kind, value):
        raise FilterError(f"{field} is a {kind}, and is compared with {value!r}")
    return {"field": field, RANGES[operator]: value if number else _value(kind, value)}


@component
class GleanerRetriever:
    """The documents of a store that answer a query best: by words and by meaning.

    `mode` is `hybrid`, `dense` or `lexical`; without one, what the query and the index have. `search` is
    what every request asks for beside (`rerank`, `fusion` and so on).
    """

    def __init__(
        self,
        *,
        document_store: GleanerDocumentStore,
        mode: Optional[str] = None,
        filters: Optional[Dict[str, Any]] = None,
        top_k: int = 10,
        filter_policy: Union[str, FilterPolicy] = FilterPolicy.REPLACE,
        search: Optional[Dict[str, Any]] = None,
    ) -> None:
        if not isinstance(document_store, GleanerDocumentStore):
            raise ValueError("document_store has to be a GleanerDocumentStore")
        self.document_store = document_store
        self.mode = mode
        self.filters = filters or {}
        self.top_k = top_k
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )
        self.search = search or {}

    def to_dict(self) -> Dict[str, Any]:
        """The component, as a pipeline is saved."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            mode=self.mode,
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            search=self.search,
        )

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "GleanerRetriever":
        """The component of what `to_dict` said."""
        parameters = data["init_parameters"]
        parameters["document_store"] = GleanerDocumentStore.from_dict(parameters["document_store"])
        retriever: GleanerRetriever = default_from_dict(cls, data)
        return retriever

    @component.output_types(documents=List[Document])
    def run(
        self,
        query: Optional[str] = None,
        query_embedding: Optional[List[float]] = None,
        filters: Optional[Dict[str, Any]] = None,
        top_k: Optional[int] = None,
    ) -> Dict[str, List[Document]]:
        """The documents, the best first. A query, an embedding of it, or both are needed."""
        chosen = apply_filter_policy(self.filter_policy, self.filters, filters)
        documents = self.document_store.retrieve(
            query,
            query_embedding,
            filters=chosen,
            top_k=top_k or self.top_k,
            mode=self.mode,  # type: ignore[arg-type]
            search=self.search,
        )
        return {"documents": documents}

    @component.output_types(documents=List[Document])
    async def run_async(
        self,
        query: Optional[str] = None,
        query_embedding: Optional[List[float]] = None,
        filters: Optional[Dict[str, Any]] = None,
        top_k: Optional[int] = None,
    ) -> Dict[str, List[Document]]:
        """The same, awaited."""
        found: Dict[str, List[Document]] = await anyio.to_thread.run_sync(
            partial(self.run, query, query_embedding, filters, top_k)
        )
        return found
