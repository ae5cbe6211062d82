"""Gleaner for LlamaIndex: a retriever over any index.

```python
from gleaner_client.llamaindex import GleanerRetriever

retriever = GleanerRetriever("articles", text_fields=["title", "body"], top_k=3)
nodes = retriever.retrieve("why does bread rise")
```
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Sequence

import anyio.to_thread

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ImportError as error:
    raise ImportError("LlamaIndex is needed for this: pip install 'gleaner-client[llamaindex]'") from error

from . import types as t
from ._async.client import AsyncClient
from ._store import metadata_of, text_of
from ._sync.client import Client
from .results import SearchResults

__all__ = ["GleanerRetriever"]


class GleanerRetriever(BaseRetriever):
    """Documents of an index as nodes, the best first.

    `text_fields` are the fields that make a node's text, joined by line breaks; with `passages`, of an
    index that cuts texts, it is the passage that was nearest. `metadata_field` is the object that is
    the metadata; without it, all other fields are. `search` is what every search asks for beside
    (`mode`, `rerank` and so on). `embed_model` encodes queries, for indexes whose documents bring their
    vectors; a query that brings its own is searched by that. Awaited, it uses `async_client` if there
    is one, else the other one in a thread.
    """

    def __init__(
        self,
        index: str,
        *,
        client: Optional[Client] = None,
        async_client: Optional[AsyncClient] = None,
        top_k: int = 4,
        text_fields: Sequence[str] = ("text",),
        metadata_field: Optional[str] = None,
        passages: bool = False,
        filter: Optional[t.FilterInput] = None,
        search: Optional[t.SearchRequest] = None,
        embed_model: Optional[BaseEmbedding] = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.index = index
        self.client = client or Client()
        self.async_client = async_client
        self.top_k = top_k
        self.text_fields = list(text_fields)
        self.metadata_field = metadata_field
        self.passages = passages
        self.filter = filter
        self.options: Mapping[str, Any] = dict(search or {})
        self.embed_model = embed_model

    def _retrieve(self, query_bundle: QueryBundle) -> List[NodeWithScore]:
        vector = query_bundle.embedding
        if vector is None and self.embed_model is not None:
            vector = self.embed_model.get_agg_embedding_from_queries(query_bundle.embedding_strs)
        return self._nodes(self.client.search(self.index, **self._request(query_bundle, vector)))

    async def _aretrieve(self, query_bundle: QueryBundle) -> List[NodeWithScore]:
        vector = query_bundle.embedding
        if vector is None and self.embed_model is not None:
            vector = await self.embed_model.aget_agg_embedding_from_queries(query_bundle.embedding_strs)
        request = self._request(query_bundle, vector)
        if self.async_client is None:
            return self._nodes(
                await anyio.to_thread.run_sync(partial(self.client.search, self.index, **request))
            )
        return self._nodes(await self.async_client.search(self.index, **request))

    def _request(self, query: QueryBundle, vector: Optional[List[float]]) -> Dict[str, Any]:
        request: Dict[str, Any] = {"k": self.top_k, "filter": self.filter, **self.options}
        request["query"] = query.query_str or None
        if vector is not None:
            request["vector"] = vector
        return request

    def _nodes(self, results: SearchResults) -> List[NodeWithScore]:
        return [
            NodeWithScore(
                node=TextNode(
                    id_=hit.id,
                    text=text_of(hit, self.text_fields, self.passages),
                    metadata=metadata_of(hit, self.text_fields, self.metadata_field),
                ),
                score=hit.score,
            )
            for hit in results
        ]
