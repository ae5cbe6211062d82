"""The client."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

import httpx
from typing_extensions import Self

from .. import types as t
from .._bulk import Ledger, Progress
from .._core import (
    NDJSON,
    EventReader,
    Pending,
    PlainIterable,
    Retry,
    call,
    decode_vector,
    encode_lines,
    filter_parameter,
    given,
    is_unsettled,
    sleep,
)
from .._files import Certificate, PathLike, Sink, Verify
from ..errors import ApiError, NotFoundError, TaskFailed, TimedOut, error_of
from ..results import BulkResult, Embeddings, Hit, SearchResults, batch_of
from .stream import DocumentStream
from .transport import ApiKey, Transport

if TYPE_CHECKING:
    import pyarrow

#: Whether a write is answered when searches see it.
Refresh = Union[bool, None]
Durability = Optional[str]
JobProgress = Callable[[t.JobReport], None]


def _writing(refresh: Refresh, durability: Durability, **more: Any) -> Dict[str, Any]:
    wait = "wait" if refresh else None
    return {"refresh": wait, "durability": durability, **more}


class Client:
    """A Gleaner server.

    ```python
    with Client("http://localhost:7700") as client:
        results = client.search("articles", "why does bread rise", k=3)
    ```

    `url` is that of the environment (`GLEANER_URL`) or of this machine where none is given; so is
    `api_key` (`GLEANER_API_KEY`), which is a key, a token of a tenant, or a function that gives the one
    to use now. `timeout` is in seconds, or httpx's own; `retry` says how often and when requests are
    sent again, or just how often. `verify` and `cert` are about TLS: the certificates to go by, and
    this client's own. `http_client` takes the place of the HTTP client that is made otherwise; it stays
    the caller's to close. A client may be used by many threads at once.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        api_key: Optional[ApiKey] = None,
        timeout: Union[float, httpx.Timeout, None] = 60.0,
        retry: Union[Retry, int] = Retry(),  # noqa: B008
        verify: Verify = True,
        cert: Optional[Certificate] = None,
        proxy: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        http_client: Optional[httpx.Client] = None,
    ) -> None:
        self._transport = Transport(
            url,
            api_key=api_key,
            timeout=timeout,
            retry=retry,
            verify=verify,
            cert=cert,
            proxy=proxy,
            headers=headers,
            http_client=http_client,
        )
        self.indexes = Indexes(self._transport)
        self.documents = Documents(self._transport)
        self.aliases = Aliases(self._transport)
        self.snapshots = Snapshots(self._transport)
        self.entities = Entities(self._transport)
        self.schemas = Schemas(self._transport)
        self.feedback = Feedback(self._transport)
        self.jobs = Jobs(self._transport)
        self.tasks = Tasks(self._transport)
        self.keys = Keys(self._transport)
        self.tokens = Tokens(self._transport)
        self.models = Models(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._transport.close()

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._transport.url.text

    # Searching

    def search(
        self,
        index: str,
        query: Optional[str] = None,
        *,
        k: Optional[int] = None,
        offset: Optional[int] = None,
        filter: Optional[t.FilterInput] = None,
        mode: Optional[t.Mode] = None,
        vector: Optional[Sequence[float]] = None,
        like: Optional[t.Like] = None,
        fields: Optional[Sequence[str]] = None,
        sort: Optional[Sequence[t.SortSchema]] = None,
        collapse: Optional[t.Collapse] = None,
        facets: Optional[Mapping[str, int]] = None,
        highlight: Optional[t.HighlightRequest] = None,
        rerank: Optional[t.RerankSchema] = None,
        fusion: Optional[t.Fusion] = None,
        match: Optional[t.MatchWords] = None,
        min_score: Optional[float] = None,
        candidates: Optional[int] = None,
        ef: Optional[int] = None,
        exact: Optional[bool] = None,
        explain: Optional[bool] = None,
        cursor: Optional[t.CursorRequest] = None,
    ) -> SearchResults:
        """The documents that `query` (or `vector`, or `like`) is best answered by and `filter` lets
        pass; what is not said is as the index's definition says. Members are those of
        `types.SearchRequest`."""
        body = given(
            query=query,
            k=k,
            offset=offset,
            filter=filter,
            mode=mode,
            vector=vector,
            like=like,
            fields=fields,
            sort=sort,
            collapse=collapse,
            facets=facets,
            highlight=highlight,
            rerank=rerank,
            fusion=fusion,
            match=match,
            min_score=min_score,
            candidates=candidates,
            ef=ef,
            exact=exact,
            explain=explain,
            cursor=cursor,
        )
        asked = call("search", index, body=body, parse=SearchResults)
        results: SearchResults = self._transport.send(asked)
        return results

    def search_many(
        self, index: str, searches: Sequence[t.SearchRequest]
    ) -> List[Union[SearchResults, ApiError]]:
        """Several searches in one request, in their order. One that fails has its error in its place."""
        asked = call("search", index, body={"queries": list(searches)}, parse=batch_of)
        results: List[Union[SearchResults, ApiError]] = self._transport.send(asked)
        return results

    def search_pages(
        self,
        index: str,
        query: Optional[str] = None,
        *,
        page_size: int = 100,
        keep_s: Optional[int] = None,
        **search: Any,
    ) -> Iterator[SearchResults]:
        """All that a search finds, a page at a time, as of the instant of the first page. The other
        members are those of `search`; with none but `sort` it lists the index."""
        cursor: t.CursorRequest = {} if keep_s is None else {"keep_s": keep_s}
        page = self.search(index, query, k=page_size, cursor=cursor, **search)
        while True:
            if page.hits:
                yield page
            if page.cursor is None:
                return
            page = self.search(index, cursor={"token": page.cursor})

    def search_all(
        self,
        index: str,
        query: Optional[str] = None,
        *,
        page_size: int = 100,
        keep_s: Optional[int] = None,
        **search: Any,
    ) -> Iterator[Hit]:
        """The hits of `search_pages`, one after the other."""
        for page in self.search_pages(index, query, page_size=page_size, keep_s=keep_s, **search):
            for hit in page.hits:
                yield hit

    def rerank(
        self,
        query: str,
        documents: Sequence[t.DocumentSchema],
        *,
        model: str,
        top_n: Optional[int] = None,
        rank_fields: Optional[Sequence[str]] = None,
        return_documents: Optional[bool] = None,
        max_tokens_per_doc: Optional[int] = None,
    ) -> t.RerankAnswer:
        """Documents in order for a query, the best first."""
        body = given(
            model=model,
            query=query,
            documents=list(documents),
            top_n=top_n,
            rank_fields=rank_fields,
            return_documents=return_documents,
            max_tokens_per_doc=max_tokens_per_doc,
        )
        answer: t.RerankAnswer = self._transport.send(call("rerank", body=body))
        return answer

    def embed(
        self,
        input: t.EmbeddingsInput,
        *,
        model: str,
        task: Optional[t.EncodingTask] = None,
        dimensions: Optional[int] = None,
        prompt_name: Optional[str] = None,
        prompt: Optional[str] = None,
        long_texts: Optional[t.LongTexts] = None,
        expert: Optional[str] = None,
    ) -> Embeddings:
        """Vectors of texts. `task` is `query` for what is searched with, `document` for what is found."""
        body = given(
            model=model,
            input=input,
            encoding_format="base64",
            task=task,
            dimensions=dimensions,
            prompt_name=prompt_name,
            prompt=prompt,
            long_texts=long_texts,
            expert=expert,
        )
        answer: t.EmbeddingsAnswer = self._transport.send(call("embed", body=body))
        return Embeddings(
            vectors=[decode_vector(entry["embedding"]) for entry in answer["data"]],
            model=answer["model"],
            tokens=answer["usage"]["total_tokens"],
            truncated=list(answer.get("truncated") or []),
        )

    # Loading and exporting

    def bulk_stream(
        self,
        index: str,
        documents: PlainIterable[Mapping[str, Any]],
        *,
        progress: Optional[Progress] = None,
        refresh: Refresh = None,
        durability: Durability = None,
        max_rejected: Optional[int] = 1000,
        keep_rejections: int = 10_000,
    ) -> BulkResult:
        """Writes documents without end, of an iterable, in one request that is
        answered while it is sent.

        `progress` is called about once a second. What is not known to be written is kept (32 MiB at
        most; then it waits for the server) and sent again where the connection breaks or the server is
        stopped or too busy; documents are put by their ids, so that twice does no harm. Past
        `max_rejected` refused documents, or where sending again does not help, `BulkError` says how far
        it came. `keep_rejections` is how many of the refused are in the result.

        Past a proxy, with an HTTP client of the caller's own, and to servers that do not know streams,
        documents go in requests of a thousand instead.
        """
        ledger = Ledger(progress, max_rejected, keep_rejections)
        params = _writing(refresh, durability)
        DocumentStream(self._transport, index, documents, params, ledger).run()
        return ledger.result()

    def load(
        self,
        index: str,
        table: Any,
        *,
        id: Optional[str] = None,
        columns: Optional[Mapping[str, str]] = None,
        progress: Optional[Progress] = None,
        refresh: Refresh = None,
        durability: Durability = None,
        max_rejected: Optional[int] = 1000,
    ) -> BulkResult:
        """Writes the rows of a pandas `DataFrame`, or of a pyarrow `Table`, `RecordBatch`, `Dataset` or
        `RecordBatchReader`. `id` is the column with the ids (`id` itself otherwise); `columns` says
        which others are taken, all otherwise, and what they are called. What is missing in a row is
        left out of its document. The rest is as in `bulk_stream`."""
        from ..tables import documents_of

        return self.bulk_stream(
            index,
            documents_of(table, id=id, columns=columns),
            progress=progress,
            refresh=refresh,
            durability=durability,
            max_rejected=max_rejected,
        )

    def export(
        self, index: str, to: Union[PathLike, BinaryIO], *, filter: Optional[t.FilterInput] = None
    ) -> int:
        """The index as of one instant as a Parquet file, written to `to`, a path or an open file. A
        path has the file when it is whole. Returns its bytes."""
        asked = call("exportIndex", index, params={"filter": filter_parameter(filter)})
        return _download(self._transport, asked, to)

    def export_table(
        self,
        index: str,
        *,
        filter: Optional[t.FilterInput] = None,
        vectors: bool = False,
    ) -> pyarrow.Table:
        """The index as of one instant as a table of Arrow, in memory: a column for each field, and
        `_rest`, if any document has what no column says. With `vectors` also `_passages`."""
        from ..tables import exported

        asked = call("exportIndex", index, params={"filter": filter_parameter(filter)})
        content: bytes = self._transport.send(asked)
        return exported(content, vectors)

    # The server

    def health(self) -> t.HealthAnswer:
        """That the server runs, and its version."""
        answer: t.HealthAnswer = self._transport.send(call("health"))
        return answer

    def ready(self) -> bool:
        """Whether the server has opened its indexes and warmed up its models."""
        try:
            answer: t.ReadyAnswer = self._transport.once(call("ready"))
        except ApiError as error:
            if error.status == 503:
                return False
            raise
        return answer["ready"]

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns when the server is ready; `TimedOut` where that takes longer."""
        until = time.monotonic() + timeout
        while not self.ready():
            if time.monotonic() > until:
                raise TimedOut(f"the server is not ready after {timeout:g} seconds")
            sleep(0.2)

    def metrics(self) -> str:
        """Figures in the format of Prometheus."""
        content: bytes = self._transport.send(call("metrics"))
        return content.decode()

    def openapi(self) -> Dict[str, Any]:
        """The server's description of itself."""
        answer: Dict[str, Any] = self._transport.send(call("openapi"))
        return answer


class _Part:
    """Some of the operations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


class Indexes(_Part):
    """Indexes: their definitions, and what is done with one as a whole."""

    def create(self, definition: t.Definition) -> t.IndexAnswer:
        """Creates one."""
        answer: t.IndexAnswer = self._transport.send(call("createIndex", body=definition))
        return answer

    def define(self, name: str, definition: t.Definition) -> t.IndexAnswer:
        """Creates one, or changes in place what can be changed of it."""
        answer: t.IndexAnswer = self._transport.send(call("defineIndex", name, body=definition))
        return answer

    def get(self, name: str) -> t.IndexAnswer:
        """Its definition and figures."""
        answer: t.IndexAnswer = self._transport.send(call("getIndex", name))
        return answer

    def exists(self, name: str) -> bool:
        """Whether there is one."""
        try:
            self.get(name)
        except NotFoundError:
            return False
        return True

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.IndexEntry]:
        """All that the key reaches."""
        for entry in _entries(self._transport, "listIndexes", "indexes", page_size=page_size):
            yield entry

    def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Removes it with everything in it."""
        try:
            self._transport.send(call("deleteIndex", name))
        except NotFoundError:
            if not missing_ok:
                raise

    def refresh(self, name: str) -> int:
        """Makes all writes so far visible; the number of the last one."""
        answer: t.RefreshAnswer = self._transport.send(call("refreshIndex", name))
        return answer["visible_seq"]

    def compact(self, name: str, *, timeout: Optional[float] = None) -> t.CompactAnswer:
        """Gives back what was deleted or replaced."""
        answer: t.CompactAnswer = _settled(self._transport, call("compactIndex", name), timeout)
        return answer

    def reindex(
        self,
        name: str,
        into: str,
        *,
        definition: Optional[t.Definition] = None,
        alias: Optional[str] = None,
    ) -> t.ReindexAnswer:
        """Begins to make a new index of this one beside it; `wait_for_reindexing` says how it ended."""
        body = given(into=into, definition=definition, alias=alias)
        answer: t.ReindexAnswer = self._transport.send(call("beginReindexing", name, body=body))
        return answer

    def reindexing(self, name: str) -> t.ReindexAnswer:
        """How far it is."""
        answer: t.ReindexAnswer = self._transport.send(call("getReindexing", name))
        return answer

    def cancel_reindexing(self, name: str) -> t.ReindexAnswer:
        """Calls it off."""
        answer: t.ReindexAnswer = self._transport.send(call("cancelReindexing", name))
        return answer

    def wait_for_reindexing(
        self, name: str, *, poll: float = 0.5, timeout: Optional[float] = None
    ) -> t.ReindexAnswer:
        """Returns when it is done; raises `TaskFailed` where it ended otherwise."""
        until = _deadline(timeout)
        while True:
            report = self.reindexing(name)
            if report["state"] == "done":
                return report
            if report["state"] != "running":
                _fail(f"the reindexing of {name}", report)
            _pause(f"the reindexing of {name}", poll, until)


class Documents(_Part):
    """The documents of an index."""

    def put(
        self,
        index: str,
        id: str,
        document: Mapping[str, Any],
        *,
        if_version: Optional[int] = None,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.WriteAnswer:
        """Writes one; with `if_version` only if it has that version, with 0 only if there is none."""
        params = _writing(refresh, durability, if_version=if_version)
        asked = call("putDocument", index, id, body=document, params=params, key=idempotency_key)
        answer: t.WriteAnswer = self._transport.send(asked)
        return answer

    def update(
        self,
        index: str,
        id: str,
        patch: Mapping[str, Any],
        *,
        if_version: Optional[int] = None,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.WriteAnswer:
        """Changes a part of one: members replace those of their name, `None` removes them."""
        params = _writing(refresh, durability, if_version=if_version)
        asked = call("updateDocument", index, id, body=patch, params=params, key=idempotency_key)
        answer: t.WriteAnswer = self._transport.send(asked)
        return answer

    def get(self, index: str, id: str, *, vectors: bool = False) -> t.DocumentAnswer:
        """One with its version, as it was last written; with `vectors` also those of its passages."""
        asked = call("getDocument", index, id, params={"vectors": vectors or None})
        answer: t.DocumentAnswer = self._transport.send(asked)
        return answer

    def exists(self, index: str, id: str) -> bool:
        """Whether there is one."""
        try:
            self.get(index, id)
        except NotFoundError as error:
            if error.code == "document_not_found":
                return False
            raise
        return True

    def delete(
        self,
        index: str,
        id: str,
        *,
        if_version: Optional[int] = None,
        missing_ok: bool = False,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> None:
        """Deletes one."""
        params = _writing(refresh, durability, if_version=if_version)
        try:
            self._transport.send(call("deleteDocument", index, id, params=params, key=idempotency_key))
        except NotFoundError as error:
            if not missing_ok or error.code != "document_not_found":
                raise

    def delete_by_filter(
        self,
        index: str,
        filter: t.FilterInput,
        *,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> int:
        """Deletes those that pass a filter; how many there were."""
        asked = call(
            "deleteDocuments",
            index,
            body={"filter": filter},
            params=_writing(refresh, durability),
            key=idempotency_key,
        )
        answer: t.DeleteAnswer = self._transport.send(asked)
        return answer["deleted"]

    def bulk(
        self,
        index: str,
        documents: Sequence[Mapping[str, Any]],
        *,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.BulkAnswer:
        """Writes some in one request, at most as many as the server takes in one (10,000); each is
        answered for. `bulk_stream` takes any number."""
        asked = call(
            "writeDocuments",
            index,
            content=encode_lines(documents),
            content_type=NDJSON,
            params=_writing(refresh, durability),
            key=idempotency_key,
        )
        answer: t.BulkAnswer = self._transport.send(asked, again=is_unsettled)
        return answer

    def operations(
        self,
        index: str,
        operations: Sequence[t.BulkOperation],
        *,
        refresh: Refresh = None,
        durability: Durability = None,
        idempotency_key: Optional[str] = None,
    ) -> t.BulkAnswer:
        """Writes, updates and deletes in one request, in this order; each is answered for."""
        asked = call(
            "runOperations",
            index,
            content=encode_lines(operations),
            content_type=NDJSON,
            params=_writing(refresh, durability),
            key=idempotency_key,
        )
        answer: t.BulkAnswer = self._transport.send(asked, again=is_unsettled)
        return answer


class Aliases(_Part):
    """Other names of indexes."""

    def get(self) -> Dict[str, str]:
        """Each alias, and the index that it stands for."""
        answer: t.AliasesAnswer = self._transport.send(call("listAliases"))
        return dict(answer["aliases"])

    def change(self, aliases: Mapping[str, Optional[str]]) -> Dict[str, str]:
        """Moves aliases, all in one step; `None` removes one, and those not named stay."""
        asked = call("changeAliases", body={"aliases": dict(aliases)})
        answer: t.AliasesAnswer = self._transport.send(asked)
        return dict(answer["aliases"])


class Snapshots(_Part):
    """Indexes as they were."""

    def create(self, index: str, *, timeout: Optional[float] = None) -> t.Snapshot:
        """Takes one."""
        answer: t.Snapshot = _settled(self._transport, call("takeSnapshot", index), timeout)
        return answer

    def list(self, index: str, *, page_size: Optional[int] = None) -> Iterator[t.Snapshot]:
        """Those of an index, the oldest first."""
        for entry in _entries(self._transport, "listSnapshots", "snapshots", index, page_size=page_size):
            yield entry

    def restore(self, index: str, id: str, name: str, *, timeout: Optional[float] = None) -> t.RestoreAnswer:
        """Makes an index of that name of one."""
        asked = call("restoreSnapshot", index, id, body={"name": name})
        answer: t.RestoreAnswer = _settled(self._transport, asked, timeout)
        return answer

    def delete(self, index: str, id: str) -> None:
        """Removes one."""
        self._transport.send(call("deleteSnapshot", index, id))


class Entities(_Part):
    """Catalogs of names, and which of them texts speak of."""

    def create(
        self,
        name: str,
        names: Sequence[t.NewName],
        *,
        model: Optional[str] = None,
        after_space: Optional[bool] = None,
    ) -> t.BuildReport:
        """Builds a catalog of at most 10,000 names."""
        body = given(name=name, names=list(names), model=model, after_space=after_space)
        answer: t.BuildReport = self._transport.send(call("createCatalog", body=body))
        return answer

    def get(self, catalog: str) -> t.CatalogInfo:
        """A catalog's figures."""
        answer: t.CatalogInfo = self._transport.send(call("getCatalog", catalog))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.CatalogInfo]:
        """All catalogs that the key reaches."""
        for entry in _entries(self._transport, "listCatalogs", "catalogs", page_size=page_size):
            yield entry

    def delete(self, catalog: str) -> None:
        """Removes a catalog."""
        self._transport.send(call("deleteCatalog", catalog))

    def add(self, catalog: str, names: Sequence[t.NewName]) -> t.AddReport:
        """Adds at most 10,000 names, all or none."""
        asked = call("addNames", catalog, body={"names": list(names)})
        answer: t.AddReport = self._transport.send(asked)
        return answer

    def compact(self, catalog: str, *, timeout: Optional[float] = None) -> t.BuildReport:
        """Seals what was added and removed."""
        asked = call("compactCatalog", catalog)
        answer: t.BuildReport = _settled(self._transport, asked, timeout)
        return answer

    def names(self, catalog: str, id: str) -> t.EntityAnswer:
        """The names of an entity."""
        answer: t.EntityAnswer = self._transport.send(call("getEntity", catalog, id))
        return answer

    def remove(self, catalog: str, id: str) -> None:
        """Removes an entity."""
        self._transport.send(call("deleteEntity", catalog, id))

    def link(
        self,
        catalog: str,
        text: str,
        *,
        method: Optional[t.LinkMethod] = None,
        mentions: Optional[t.Mentions] = None,
        threshold: Optional[float] = None,
        alternatives: Optional[int] = None,
    ) -> t.LinkResponse:
        """Which stretches of a text are mentions, and what they mean."""
        body = given(
            catalog=catalog,
            text=text,
            method=method,
            mentions=mentions,
            threshold=threshold,
            alternatives=alternatives,
        )
        answer: t.LinkResponse = self._transport.send(call("linkEntities", body=body))
        return answer

    def disambiguate(
        self,
        catalog: str,
        text: str,
        start: int,
        end: int,
        *,
        candidates: Optional[Sequence[str]] = None,
        threshold: Optional[float] = None,
        alternatives: Optional[int] = None,
    ) -> t.LinkedMention:
        """What the mention from character `start` to `end` of a text means."""
        body = given(
            catalog=catalog,
            text=text,
            start=start,
            end=end,
            candidates=candidates,
            threshold=threshold,
            alternatives=alternatives,
        )
        asked = call("disambiguateMention", body=body)
        answer: t.LinkedMention = self._transport.send(asked)
        return answer

    def retrieve(
        self, catalog: str, query: str, *, k: Optional[int] = None, samples: Optional[int] = None
    ) -> t.RetrieveEntitiesResponse:
        """Entities that a text is about."""
        body = given(catalog=catalog, query=query, k=k, samples=samples)
        asked = call("retrieveEntities", body=body)
        answer: t.RetrieveEntitiesResponse = self._transport.send(asked)
        return answer


class Schemas(_Part):
    """Databases, and the part of their schemas that a question needs."""

    def create(self, request: t.SchemaRequest) -> t.SchemaImported:
        """Imports a schema: of DDL, of a description, or of a database that the server reads."""
        answer: t.SchemaImported = self._transport.send(call("importSchema", body=request))
        return answer

    def import_ddl(
        self,
        name: str,
        ddl: str,
        *,
        dialect: Optional[t.Dialect] = None,
        infer_keys: Optional[bool] = None,
    ) -> t.SchemaImported:
        """Imports what `CREATE TABLE` statements say."""
        body = given(name=name, ddl=ddl, dialect=dialect, infer_keys=infer_keys)
        answer: t.SchemaImported = self._transport.send(call("importSchema", body=body))
        return answer

    def get(self, name: str, *, caller: Optional[str] = None) -> t.SchemaEntry:
        """Tables, columns and keys of a database."""
        answer: t.SchemaEntry = self._transport.send(call("getSchema", name, params={"caller": caller}))
        return answer

    def list(
        self, *, caller: Optional[str] = None, page_size: Optional[int] = None
    ) -> Iterator[t.SchemaSummary]:
        """All databases that key and caller reach."""
        for entry in _entries(
            self._transport, "listSchemas", "schemas", page_size=page_size, params={"caller": caller}
        ):
            yield entry

    def delete(self, name: str) -> None:
        """Removes a database."""
        self._transport.send(call("deleteSchema", name))

    def retrieve(
        self,
        name: str,
        question: str,
        *,
        evidence: Optional[str] = None,
        strategy: Optional[t.Strategy] = None,
        mode: Optional[t.SchemaMode] = None,
        token_budget: Optional[int] = None,
        tokenizer: Optional[str] = None,
        dialect: Optional[t.Dialect] = None,
        comments: Optional[bool] = None,
        samples: Optional[int] = None,
        values: Optional[int] = None,
        examples: Optional[int] = None,
        caller: Optional[str] = None,
    ) -> t.SchemaFocus:
        """The part of a schema that a question needs; `prompt` is the text for a language model."""
        body = given(
            question=question,
            evidence=evidence,
            strategy=strategy,
            mode=mode,
            token_budget=token_budget,
            tokenizer=tokenizer,
            dialect=dialect,
            comments=comments,
            samples=samples,
            values=values,
            examples=examples,
            caller=caller,
        )
        answer: t.SchemaFocus = self._transport.send(call("retrieveSchema", name, body=body))
        return answer

    def which(
        self,
        question: str,
        *,
        evidence: Optional[str] = None,
        databases: Optional[int] = None,
        schemas: Optional[int] = None,
        strategy: Optional[t.Strategy] = None,
        mode: Optional[t.SchemaMode] = None,
        token_budget: Optional[int] = None,
        caller: Optional[str] = None,
    ) -> t.WhichAnswer:
        """Which databases answer a question, with the part of the best that it needs."""
        body = given(
            question=question,
            evidence=evidence,
            databases=databases,
            schemas=schemas,
            strategy=strategy,
            mode=mode,
            token_budget=token_budget,
            caller=caller,
        )
        answer: t.WhichAnswer = self._transport.send(call("whichSchema", body=body))
        return answer

    def values(
        self,
        name: str,
        text: str,
        *,
        limit: Optional[int] = None,
        meaning: Optional[bool] = None,
        caller: Optional[str] = None,
    ) -> t.ValuesAnswer:
        """Cell values that a text names."""
        body = given(text=text, limit=limit, meaning=meaning, caller=caller)
        answer: t.ValuesAnswer = self._transport.send(call("findValues", name, body=body))
        return answer

    def describe(self, name: str, descriptions: t.Descriptions) -> t.Descriptions:
        """Keeps what people write about its tables and columns."""
        asked = call("describeSchema", name, body=descriptions)
        answer: t.Descriptions = self._transport.send(asked)
        return answer

    def examples(
        self, name: str, *, caller: Optional[str] = None, page_size: Optional[int] = None
    ) -> Iterator[t.Example]:
        """Its stored questions with their SQL."""
        for entry in _entries(
            self._transport,
            "listExamples",
            "examples",
            name,
            page_size=page_size,
            params={"caller": caller},
        ):
            yield entry

    def add_examples(
        self, name: str, examples: Sequence[t.NewExample], *, caller: Optional[str] = None
    ) -> t.ExamplesAdded:
        """Stores questions with their SQL, all or none."""
        body = given(examples=list(examples), caller=caller)
        answer: t.ExamplesAdded = self._transport.send(call("addExamples", name, body=body))
        return answer

    def delete_example(self, name: str, id: str, *, caller: Optional[str] = None) -> None:
        """Removes one."""
        self._transport.send(call("deleteExample", name, id, params={"caller": caller}))

    def similar_examples(
        self,
        name: str,
        question: str,
        *,
        limit: Optional[int] = None,
        diversity: Optional[float] = None,
        caller: Optional[str] = None,
    ) -> t.SimilarAnswer:
        """Stored questions like this one."""
        body = given(question=question, limit=limit, diversity=diversity, caller=caller)
        answer: t.SimilarAnswer = self._transport.send(call("similarExamples", name, body=body))
        return answer

    def worth_annotating(
        self,
        name: str,
        questions: Sequence[str],
        *,
        limit: Optional[int] = None,
        caller: Optional[str] = None,
    ) -> t.AnnotateAnswer:
        """Which questions are worth writing SQL for."""
        body = given(questions=list(questions), limit=limit, caller=caller)
        answer: t.AnnotateAnswer = self._transport.send(call("annotateExamples", name, body=body))
        return answer

    def permissions(self, name: str) -> Optional[t.Permissions]:
        """Who may see which tables; `None` where everybody may."""
        answer: Optional[t.Permissions] = self._transport.send(call("getPermissions", name))
        return answer

    def permit(self, name: str, permissions: t.Permissions) -> t.Permissions:
        """Says who may see which tables."""
        asked = call("putPermissions", name, body=permissions)
        answer: t.Permissions = self._transport.send(asked)
        return answer

    def open_to_all(self, name: str) -> None:
        """Takes the permissions away, so that everybody may see all tables."""
        self._transport.send(call("deletePermissions", name))


class Feedback(_Part):
    """What people say about answers, and what is learned of it."""

    def add(
        self,
        index: str,
        events: Sequence[t.FeedbackEvent],
        *,
        idempotency_key: Optional[str] = None,
    ) -> int:
        """Keeps judgments, impressions and clicks, all or none; how many were added."""
        body = {"index": index, "events": list(events)}
        asked = call("addFeedback", body=body, key=idempotency_key)
        answer: t.FeedbackAnswer = self._transport.send(asked)
        return answer["added"]

    def get(self, index: str) -> t.FeedbackStatus:
        """What is kept, and which combiner is used."""
        answer: t.FeedbackStatus = self._transport.send(call("getFeedback", index))
        return answer

    def fit(
        self, index: str, *, activate: Optional[bool] = None, timeout: Optional[float] = None
    ) -> t.FitReport:
        """Fits a combiner, and uses it if it wins."""
        asked = call("fitFeedback", index, body=given(activate=activate))
        answer: t.FitReport = _settled(self._transport, asked, timeout)
        return answer

    def activate(self, index: str, version: int) -> t.CombinerStatus:
        """Uses a version of the combiner; 0 is the shipped one."""
        asked = call("activateCombiner", index, body={"version": version})
        answer: t.CombinerStatus = self._transport.send(asked)
        return answer

    def roll_back(self, index: str) -> t.CombinerStatus:
        """Uses the version before."""
        answer: t.CombinerStatus = self._transport.send(call("rollBackCombiner", index))
        return answer

    def export(self, index: str, to: Union[PathLike, BinaryIO]) -> int:
        """The events as a Parquet file; its bytes."""
        return _download(self._transport, call("exportFeedback", index), to)


class Jobs(_Part):
    """Loads of files that the server reads itself."""

    def create(
        self,
        index: str,
        inputs: Sequence[str],
        *,
        format: Optional[t.FileFormat] = None,
        mapping: Optional[t.JobMapping] = None,
        max_rejects: Optional[t.MaxRejects] = None,
    ) -> t.JobReport:
        """Makes one. The request is not sent again where its fate is not known."""
        body = given(
            index=index, inputs=list(inputs), format=format, mapping=mapping, max_rejects=max_rejects
        )
        answer: t.JobReport = self._transport.send(call("createJob", body=body))
        return answer

    def get(self, id: str) -> t.JobReport:
        """How far it is."""
        answer: t.JobReport = self._transport.send(call("getJob", id))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.JobReport]:
        """All, the latest first."""
        for entry in _entries(self._transport, "listJobs", "jobs", page_size=page_size):
            yield entry

    def wait(
        self,
        id: str,
        *,
        progress: Optional[JobProgress] = None,
        poll: float = 0.5,
        timeout: Optional[float] = None,
        check: bool = True,
    ) -> t.JobReport:
        """Returns when it has ended or was paused, after `progress` was told how far it is every
        `poll` seconds. Raises `TaskFailed` where it is not done then, unless `check` is false."""
        until = _deadline(timeout)
        while True:
            report = self.get(id)
            if progress is not None:
                progress(report)
            state = report["state"]
            if state in ("done", "failed", "cancelled", "paused"):
                if check and state != "done":
                    _fail(f"job {id}", report)
                return report
            _pause(f"job {id}", poll, until)

    def events(self, id: str) -> Iterator[t.JobReport]:
        """How far it is, as the server tells it, until it ends or is paused."""
        reader = EventReader()
        usual = self._transport.timeout
        timeout = httpx.Timeout(connect=usual.connect, read=None, write=usual.write, pool=usual.pool)
        with self._transport.open(call("watchJob", id), timeout) as response:
            for line in response.iter_lines():
                event = reader.feed(line)
                if event is not None:
                    report: t.JobReport = json.loads(event[1])
                    yield report
                    if event[0] == "end":
                        return

    def rejects(self, id: str) -> Iterator[Dict[str, Any]]:
        """The rows that were rejected."""
        with self._transport.open(call("getRejects", id)) as response:
            for line in response.iter_lines():
                if line.strip():
                    reject: Dict[str, Any] = json.loads(line)
                    yield reject

    def pause(self, id: str) -> t.JobReport:
        """Halts it."""
        answer: t.JobReport = self._transport.send(call("pauseJob", id, body={}))
        return answer

    def resume(self, id: str, *, max_rejects: Optional[t.MaxRejects] = None) -> t.JobReport:
        """Goes on with it."""
        asked = call("resumeJob", id, body=given(max_rejects=max_rejects))
        answer: t.JobReport = self._transport.send(asked)
        return answer

    def cancel(self, id: str) -> t.JobReport:
        """Calls it off; what it loaded stays."""
        answer: t.JobReport = self._transport.send(call("cancelJob", id, body={}))
        return answer

    def retry(self, id: str, *, max_rejects: Optional[t.MaxRejects] = None) -> t.JobReport:
        """Goes on with one that failed or was called off."""
        asked = call("retryJob", id, body=given(max_rejects=max_rejects))
        answer: t.JobReport = self._transport.send(asked)
        return answer


class Tasks(_Part):
    """What takes longer than a request."""

    def get(self, id: str) -> t.TaskAnswer:
        """How far it is."""
        answer: t.TaskAnswer = self._transport.send(call("getTask", id))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.TaskAnswer]:
        """All, the latest first."""
        for entry in _entries(self._transport, "listTasks", "tasks", page_size=page_size):
            yield entry

    def wait(self, id: str, *, poll: float = 0.5, timeout: Optional[float] = None) -> t.TaskAnswer:
        """Returns when it is done, with its `result`; raises `TaskFailed` where it failed."""
        return _task(self._transport, id, poll, timeout)


class Keys(_Part):
    """API keys."""

    def create(
        self,
        scopes: Sequence[t.Scope],
        *,
        name: Optional[str] = None,
        indexes: Optional[Sequence[str]] = None,
        expires_at: Optional[str] = None,
    ) -> t.NewKey:
        """Makes one; its `key` is told this once."""
        body = given(scopes=list(scopes), name=name, indexes=indexes, expires_at=expires_at)
        answer: t.NewKey = self._transport.send(call("createKey", body=body))
        return answer

    def get(self, id: str) -> t.KeyInfo:
        """What is known of one."""
        answer: t.KeyInfo = self._transport.send(call("getKey", id))
        return answer

    def list(self, *, page_size: Optional[int] = None) -> Iterator[t.KeyInfo]:
        """All, the oldest first."""
        for entry in _entries(self._transport, "listKeys", "keys", page_size=page_size):
            yield entry

    def revoke(self, id: str) -> None:
        """Ends one."""
        self._transport.send(call("revokeKey", id))


class Tokens(_Part):
    """Tokens of tenants, which see what passes a filter."""

    def create(
        self,
        filter: t.FilterInput,
        *,
        indexes: Optional[Sequence[str]] = None,
        expires_in: Optional[int] = None,
    ) -> t.NewToken:
        """Makes one, for so many seconds."""
        body = given(filter=filter, indexes=indexes, expires_in=expires_in)
        answer: t.NewToken = self._transport.send(call("createToken", body=body))
        return answer


class Models(_Part):
    """Encoders and rerankers."""

    def get(self, name: str) -> t.ModelEntry:
        """One of them."""
        answer: t.ModelEntry = self._transport.send(call("getModel", name))
        return answer

    def list(self) -> Iterator[t.ModelEntry]:
        """All that there are."""
        for entry in _entries(self._transport, "listModels", "data"):
            yield entry


def _entries(
    transport: Transport,
    operation: str,
    member: str,
    *names: str,
    page_size: Optional[int] = None,
    params: Optional[Mapping[str, Any]] = None,
) -> Iterator[Any]:
    """The entries of a list, page by page."""
    after: Optional[str] = None
    while True:
        asked = call(operation, *names, params={**(params or {}), "limit": page_size, "after": after})
        answer = transport.send(asked)
        for entry in answer[member]:
            yield entry
        after = answer.get("next")
        if after is None:
            return


def _settled(transport: Transport, asked: Any, timeout: Optional[float]) -> Any:
    """What is answered in the end, of what may take longer than a request."""
    answer = transport.send(asked)
    if not isinstance(answer, Pending):
        return answer
    task = _task(transport, answer.task["id"], 0.5, timeout)
    return task.get("result")


def _task(transport: Transport, id: str, poll: float, timeout: Optional[float]) -> t.TaskAnswer:
    until = _deadline(timeout)
    while True:
        report: t.TaskAnswer = transport.send(call("getTask", id))
        if report["state"] == "done":
            return report
        if report["state"] != "running":
            _fail(f"task {id}", report)
        _pause(f"task {id}", poll, until)


def _download(transport: Transport, asked: Any, to: Union[PathLike, BinaryIO]) -> int:
    with transport.open(asked) as response:
        sink = Sink(to)
        whole = False
        try:
            for part in response.iter_bytes():
                sink.write(part)
            whole = True
        finally:
            sink.close(whole)
    return sink.bytes


def _deadline(timeout: Optional[float]) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _pause(what: str, seconds: float, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimedOut(f"{what} has not ended in the time that was given; it goes on")
    sleep(min(seconds, left))


def _fail(what: str, report: Mapping[str, Any]) -> None:
    failure = report.get("error")
    error = error_of(failure) if failure else None
    told = f": {error}" if error else ""
    raise TaskFailed(f"{what} is {report['state']}{told}", report, error)
