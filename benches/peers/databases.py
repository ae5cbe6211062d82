"""Peers that are databases in a library: Qdrant's edge shard and LanceDB. Both keep the
full vectors on disk beside 8-bit codes and rescore with them what the codes found."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
from data import MISSING
from peer import EF_CONSTRUCTION, M, Decode, Peer, Run, Search, no_filter

# Twice the neighbours asked for are found by their codes and rescored.
RESCORED = 2

# Vectors are handed over in parts, and queries in batches, of these many.
INSERT_ROWS = 1_000
BATCH = 100


def scratch() -> Path:
    """A folder to build in before it is known where the index shall lie; on the disk of
    TMPDIR, which the benchmark sets."""
    return Path(tempfile.mkdtemp(prefix="peer-"))


def move_into(built: Path, folder: Path) -> None:
    for entry in built.iterdir():
        shutil.move(str(entry), str(folder / entry.name))
    built.rmdir()


class Qdrant(Peer):
    """One segment, codes pinned in memory, graph and vectors mapped. The Python binding
    holds the interpreter's lock while it searches and takes no thread count, so more
    cores do not help it."""

    name = "qdrant"
    package = "qdrant-edge-py"
    module = "qdrant_edge"
    settings = f"8 bits a number, {RESCORED} k rescored, M {M}, efConstruction {EF_CONSTRUCTION}"

    def _config(self, dimensions: int, threads: int) -> Any:
        edge = self.library
        graph = edge.HnswIndexConfig(
            m=M,
            ef_construct=EF_CONSTRUCTION,
            # In KB: the graph is searched however small the collection is.
            full_scan_threshold=1,
            max_indexing_threads=threads,
        )
        codes = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, memory=edge.Memory.Pinned)
        vectors = edge.EdgeVectorParams(
            size=dimensions, distance=edge.Distance.Dot, quantization_config=codes, hnsw_config=graph
        )
        # One graph over everything, made only when asked for; no log of single writes.
        whole = edge.EdgeOptimizersConfig(
            default_segment_number=1, indexing_threshold=1, max_segment_size=1_000_000_000
        )
        return edge.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=whole, wal_enabled=False)

    def build(self, base: np.ndarray, threads: int) -> float:
        edge = self.library
        self.built = scratch()
        seconds = -time.perf_counter()
        self.shard = edge.EdgeShard.create(str(self.built), self._config(base.shape[1], threads))
        seconds += time.perf_counter()
        for start in range(0, len(base), INSERT_ROWS):
            rows = enumerate(base[start : start + INSERT_ROWS].tolist(), start)
            insert = edge.UpdateOperation.upsert_points([edge.Point(id=id, vector=row) for id, row in rows])
            seconds -= time.perf_counter()
            self.shard.update(insert)
            seconds += time.perf_counter()
        seconds -= time.perf_counter()
        self.shard.optimize()
        self.shard.flush()
        seconds += time.perf_counter()
        self._require_whole(len(base))
        return seconds

    def _require_whole(self, count: int) -> None:
        indexed = self.shard.info().indexed_vectors_count
        if indexed < count:
            raise ValueError(f"qdrant has only {indexed} of {count} vectors in its graph")

    def save(self, folder: Path) -> None:
        self.shard.close()
        move_into(self.built, folder)

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        edge = self.library
        self.shard = edge.EdgeShard.load(str(folder))
        self._require_whole(count)

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        edge = self.library
        no_filter(search)
        codes = edge.QuantizationSearchParams(rescore=True, oversampling=float(RESCORED))
        parameters = edge.SearchParams(hnsw_ef=search.ef, quantization=codes)
        requests = [
            edge.QueryRequest(limit=search.k, query=edge.Query.Nearest(row), params=parameters)
            for row in search.queries.tolist()
        ]
        batches = [
            edge.QueryBatchRequest(requests[start : start + BATCH])
            for start in range(0, len(requests), BATCH)
        ]

        def run() -> List[Any]:
            return [found for batch in batches for found in self.shard.query_batch(batch)]

        def decode(answers: List[Any]) -> np.ndarray:
            ids = np.full((len(answers), search.k), MISSING, dtype=np.uint32)
            for row, points in enumerate(answers):
                ids[row, : len(points)] = [point.id for point in points]
            return ids

        return run, decode


class Lancedb(Peer):
    """One graph over the 8-bit codes, held in its cache, and the vectors in their table. It
    answers through its own pool of threads, whatever the count asked for; the benchmark
    gives the process one core where one thread is measured."""

    name = "lancedb"
    package = "lancedb"
    module = "lancedb"
    settings = f"IVF_HNSW_SQ, 1 part, {RESCORED} k rescored, M {M}, efConstruction {EF_CONSTRUCTION}"

    def __init__(self) -> None:
        # Before the library is loaded; a warning a query would be measured as search.
        os.environ.setdefault("LANCE_LOG", "error")
        super().__init__()
        self.indexes = importlib.import_module("lancedb.index")
        self.arrow = importlib.import_module("pyarrow")

    def build(self, base: np.ndarray, threads: int) -> float:
        self.built = scratch()
        vectors = self.arrow.FixedSizeListArray.from_arrays(self.arrow.array(base.reshape(-1)), base.shape[1])
        ids = self.arrow.array(np.arange(len(base), dtype=np.uint32))
        started = time.perf_counter()
        table = self.library.connect(str(self.built)).create_table(
            "points", self.arrow.table({"id": ids, "vector": vectors})
        )
        graph = self.indexes.HnswSq(
            distance_type="dot", num_partitions=1, m=M, ef_construction=EF_CONSTRUCTION
        )
        table.create_index("vector", config=graph)
        seconds = time.perf_counter() - started
        self._require_whole(table, len(base))
        return seconds

    def _require_whole(self, table: Any, count: int) -> None:
        found = [index for index in table.list_indices() if index.columns == ["vector"]]
        if not found or found[0].num_indexed_rows < count:
            raise ValueError("lancedb has not all vectors in its index")

    def save(self, folder: Path) -> None:
        move_into(self.built, folder)

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        self.table = self.library.connect(str(folder)).open_table("points")
        self._require_whole(self.table, count)
        # Opening reads nothing of the index; a first query does.
        self._ask(np.zeros((1, dimensions), dtype=np.float32), 1, RESCORED)

    def _ask(self, queries: np.ndarray, k: int, ef: int) -> Any:
        query = self.table.search(list(queries), vector_column_name="vector").distance_type("dot")
        # A beam narrower than what is to be rescored is an error there.
        query = query.limit(k).ef(max(ef, RESCORED * k)).nprobes(1).refine_factor(RESCORED)
        return query.select(["id", "_distance"]).to_arrow()

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        no_filter(search)
        starts = range(0, len(search.queries), BATCH)
        batches = [search.queries[start : start + BATCH] for start in starts]

        def run() -> List[Any]:
            return [self._ask(batch, search.k, search.ef) for batch in batches]

        def decode(answers: List[Any]) -> np.ndarray:
            ids = np.full((len(search.queries), search.k), MISSING, dtype=np.uint32)
            for start, table in zip(starts, answers):
                self._place(table, ids[start : start + BATCH])
            return ids

        return run, decode

    def _place(self, table: Any, ids: np.ndarray) -> None:
        """A batch's rows in any order, each with the number of its query; one query alone
        is answered without."""
        found = table["id"].to_numpy()
        alone = np.zeros(len(found), dtype=np.int64)
        queries = table["query_index"].to_numpy() if "query_index" in table.column_names else alone
        order = np.lexsort((table["_distance"].to_numpy(), queries))
        filled = [0] * len(ids)
        for row in order.tolist():
            query = int(queries[row])
            if filled[query] < ids.shape[1]:
                ids[query, filled[query]] = found[row]
                filled[query] += 1
