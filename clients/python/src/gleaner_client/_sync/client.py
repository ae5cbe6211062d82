"""The client."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

import time
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
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
from .._core import PlainIterable, Retry, call, decode_vector, filter_parameter, given, sleep
from .._files import Certificate, PathLike, Verify
from ..errors import ApiError, TimedOut
from ..results import BulkResult, Embeddings, Hit, SearchResults, batch_of
from .access import Keys, Tokens
from .documents import Documents
from .entities import Entities
from .feedback import Feedback
from .indexes import Aliases, Indexes, Snapshots
from .jobs import Jobs, Tasks
from .models import Models
from .part import Durability, Refresh, download, writing
from .schemas import Schemas
from .stream import DocumentStream
from .transport import ApiKey, Transport

if TYPE_CHECKING:
    import pyarrow


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
        params = writing(refresh, durability)
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
        return download(self._transport, asked, to)

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
