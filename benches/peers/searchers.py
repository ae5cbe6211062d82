"""Search engines from PyPI, as somebody would use them who reads their documentation.

Each takes documents as (id, text, vector), and answers a query given as text and vector with ids. What an
engine does not have (words beside vectors) it does without, and says so in `words`.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence

import numpy as np

DIMENSIONS = 384
CANDIDATES = 100
#: Milvus Lite has no stemmer: of Milvus' analysers it knows the standard one alone.
ANALYZER = {"tokenizer": "standard", "filter": ["lowercase"]}


class Engine:
    """What is asked of an engine."""

    #: Whether queries go to words and vectors.
    words = True

    def add(self, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Makes what was added searchable by every leg."""

    def search(self, text: str, vector: np.ndarray, k: int) -> List[str]:
        raise NotImplementedError


class LanceDb(Engine):
    """Full text by its own inverted index, fused by reciprocal ranks, which is its default."""

    def __init__(self, folder: Path) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.rerankers import RRFReranker

        self.schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSIONS))])
        self.table = lancedb.connect(str(folder)).create_table("documents", schema=self.schema)
        self.reranker = RRFReranker()

    def add(self, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
        import pyarrow as pa

        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS)
        self.table.add(pa.table([pa.array(ids), pa.array(texts), column], schema=self.schema))

    def finish(self) -> None:
        # English, with stemming and without stop words.
        self.table.create_fts_index("text", language="English", stem=True, remove_stop_words=True)
        self.table.optimize()

    def search(self, text: str, vector: np.ndarray, k: int) -> List[str]:
        query = self.table.search(query_type="hybrid").vector(vector.tolist()).text(text)
        return [row["id"] for row in query.rerank(self.reranker).limit(CANDIDATES).to_list()][:k]


class Chroma(Engine):
    """Embedded, it has no ranking by words: vectors alone."""

    words = False

    def __init__(self, folder: Path) -> None:
        import chromadb
        from chromadb.config import Settings

        client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
        self.collection = client.create_collection("documents", metadata={"hnsw:space": "cosine"}, embedding_function=None)

    def add(self, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
        self.collection.add(ids=list(ids), documents=list(texts), embeddings=vectors)

    def search(self, text: str, vector: np.ndarray, k: int) -> List[str]:
        return self.collection.query(query_embeddings=[vector], n_results=k)["ids"][0]


class MilvusLite(Engine):
    """BM25 by its own function, fused by reciprocal ranks."""

    def __init__(self, folder: Path) -> None:
        from pymilvus import DataType, Function, FunctionType, MilvusClient

        folder.mkdir(parents=True, exist_ok=True)
        self.client = MilvusClient(str(folder / "milvus.db"))
        schema = self.client.create_schema()
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("text", DataType.VARCHAR, max_length=65535, enable_analyzer=True, analyzer_params=ANALYZER)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
        schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        bm25 = Function(name="bm25", input_field_names=["text"], output_field_names=["words"], function_type=FunctionType.BM25)
        schema.add_function(bm25)
        indexes = self.client.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self.client.create_collection("documents", schema=schema, index_params=indexes)

    def add(self, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
        rows = [{"id": i, "text": t, "vector": v.tolist()} for i, t, v in zip(ids, texts, vectors)]
        self.client.insert("documents", rows)

    def finish(self) -> None:
        self.client.flush("documents")
        self.client.load_collection("documents")

    def search(self, text: str, vector: np.ndarray, k: int) -> List[str]:
        from pymilvus import AnnSearchRequest, RRFRanker

        legs = [
            AnnSearchRequest([vector.tolist()], "vector", {"metric_type": "IP", "params": {"ef": CANDIDATES}}, limit=CANDIDATES),
            AnnSearchRequest([text], "words", {"metric_type": "BM25"}, limit=CANDIDATES),
        ]
        hits = self.client.hybrid_search("documents", legs, RRFRanker(60), limit=k)
        return [hit["id"] for hit in hits[0]]


ENGINES = {"lancedb": LanceDb, "chroma": Chroma, "milvus-lite": MilvusLite}
