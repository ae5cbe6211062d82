"""Peers that hold a graph in memory: hnswlib, faiss, usearch, svs; and an exact scan."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np
from data import MISSING, exact
from peer import EF_CONSTRUCTION, M, Decode, Peer, Run, Search, no_filter

GRAPH = f"M {M}, efConstruction {EF_CONSTRUCTION}"


def padded(ids: np.ndarray, k: int) -> np.ndarray:
    """Signed or wide ids as u32; what a library marks with -1 becomes 0xffffffff."""
    narrow = (ids.astype(np.int64) & MISSING).astype(np.uint32)
    missing = k - narrow.shape[1]
    return np.pad(narrow, ((0, 0), (0, missing)), constant_values=MISSING) if missing > 0 else narrow


class Exact(Peer):
    """All inner products, by numpy: what a reader can check the others against."""

    name = "exact"
    package = "numpy"
    module = "numpy"
    settings = "all inner products, f32"

    def build(self, base: np.ndarray, threads: int) -> float:
        self.base = base
        return 0.0

    def save(self, folder: Path) -> None:
        np.save(folder / "base.npy", self.base)

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        self.base = np.load(folder / "base.npy")

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        base, ids = self.base, None
        if search.passing is not None:
            ids = np.flatnonzero(search.passing)
            base = base[ids]
        return lambda: exact(base, search.queries, search.k, ids), lambda found: found


class Hnswlib(Peer):
    name = "hnswlib"
    package = "hnswlib"
    module = "hnswlib"
    settings = f"f32, {GRAPH}"

    def build(self, base: np.ndarray, threads: int) -> float:
        ids = np.arange(len(base))
        started = time.perf_counter()
        self.index = self.library.Index(space="ip", dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=M, ef_construction=EF_CONSTRUCTION)
        self.index.add_items(base, ids, num_threads=threads)
        return time.perf_counter() - started

    def save(self, folder: Path) -> None:
        self.index.save_index(str(folder / "index.bin"))

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        self.index = self.library.Index(space="ip", dim=dimensions)
        self.index.load_index(str(folder / "index.bin"))

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        self.index.set_ef(search.ef)
        if search.passing is not None:
            return self._filtered(search, search.passing)
        queries, k, threads = search.queries, search.k, search.threads
        return lambda: self.index.knn_query(queries, k, num_threads=threads)[0], lambda ids: padded(ids, k)

    def _filtered(self, search: Search, passing: np.ndarray) -> Tuple[Run, Decode]:
        # Its filter is a Python function, called for every point looked at; one that is
        # built in is the quickest there is. It is asked query by query, because it fails
        # where it finds fewer than k and would take the whole batch along.
        passes = passing.tobytes().__getitem__

        def nearest(query: np.ndarray, k: int) -> Optional[np.ndarray]:
            try:
                return self.index.knn_query(query, k, num_threads=1, filter=passes)[0][0]  # type: ignore[no-any-return]
            except RuntimeError:
                return None

        def run() -> List[Optional[np.ndarray]]:
            return [nearest(query, search.k) for query in search.queries]

        def decode(found: List[Optional[np.ndarray]]) -> np.ndarray:
            ids = np.full((len(found), search.k), MISSING, dtype=np.uint32)
            for row, labels in enumerate(found):
                # Outside the time: what it had found before it failed.
                fewer = search.k
                while labels is None and fewer > 1:
                    fewer -= 1
                    labels = nearest(search.queries[row], fewer)
                if labels is not None:
                    ids[row, : len(labels)] = labels
            return ids

        return run, decode


class FaissFlat(Peer):
    name = "faiss-flat"
    package = "faiss-cpu"
    module = "faiss"
    settings = f"f32, {GRAPH}"

    def _new(self, dimensions: int) -> Any:
        return self.library.IndexHNSWFlat(dimensions, M, self.library.METRIC_INNER_PRODUCT)

    def build(self, base: np.ndarray, threads: int) -> float:
        self.library.omp_set_num_threads(threads)
        started = time.perf_counter()
        self.index = self._new(base.shape[1])
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.train(base)
        self.index.add(base)
        return time.perf_counter() - started

    def save(self, folder: Path) -> None:
        self.library.write_index(self.index, str(folder / "index.faiss"))

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        self.index = self.library.read_index(str(folder / "index.faiss"))

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        self.library.omp_set_num_threads(search.threads)
        queries, k = search.queries, search.k
        parameters = self.library.SearchParametersHNSW(efSearch=search.ef)
        if search.passing is not None:
            bits = np.packbits(search.passing, bitorder="little")
            parameters = self.library.SearchParametersHNSW(
                efSearch=search.ef, sel=self.library.IDSelectorBitmap(bits)
            )
        return lambda: self.index.search(queries, k, params=parameters)[1], lambda ids: padded(ids, k)


class FaissSq8(FaissFlat):
    name = "faiss-sq8"
    settings = f"8 bits a number, no rescoring, {GRAPH}"

    def _new(self, dimensions: int) -> Any:
        kind = self.library.ScalarQuantizer.QT_8bit
        return self.library.IndexHNSWSQ(dimensions, kind, M, self.library.METRIC_INNER_PRODUCT)


class UsearchF16(Peer):
    name = "usearch-f16"
    package = "usearch"
    module = "usearch.index"
    settings = f"f16, {GRAPH}"
    metric = "ip"
    dtype = "f16"

    def build(self, base: np.ndarray, threads: int) -> float:
        ids = np.arange(len(base), dtype=np.uint64)
        started = time.perf_counter()
        self.index = self.library.Index(
            ndim=base.shape[1],
            metric=self.metric,
            dtype=self.dtype,
            connectivity=M,
            expansion_add=EF_CONSTRUCTION,
        )
        self.index.add(ids, base, threads=threads)
        return time.perf_counter() - started

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index.usearch"))

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        restored = self.library.Index.restore(str(folder / "index.usearch"), view=False)
        if restored is None:
            raise ValueError("usearch cannot read what it saved")
        self.index = restored

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        no_filter(search)
        self.index.expansion_search = search.ef
        queries, k, threads = search.queries, search.k, search.threads

        def decode(found: Any) -> np.ndarray:
            ids = padded(found.keys.reshape(len(queries), -1), k)
            if hasattr(found, "counts"):  # one query alone is answered without
                ids[np.arange(k) >= np.asarray(found.counts)[:, None]] = MISSING
            return ids

        return lambda: self.index.search(queries, k, threads=threads), decode


class UsearchI8(UsearchF16):
    name = "usearch-i8"
    settings = f"8 bits a number, no rescoring, {GRAPH}"
    # Rounded vectors are no longer of length 1, so it is the cosine that ranks them.
    metric = "cos"
    dtype = "i8"


class SvsF16(Peer):
    """Vamana: one level, so a degree of 32 is what the others' lowest level has."""

    name = "svs-f16"
    package = "scalable-vs"
    module = "svs"
    settings = f"f16, Vamana, degree {2 * M}, window {EF_CONSTRUCTION}, alpha 0.95"

    def build(self, base: np.ndarray, threads: int) -> float:
        started = time.perf_counter()
        self.index = self.library.Vamana.build(
            self._parameters(), base.astype(np.float16), self.library.DistanceType.MIP, num_threads=threads
        )
        return time.perf_counter() - started

    def _parameters(self) -> Any:
        return self.library.VamanaBuildParameters(
            alpha=0.95, graph_max_degree=2 * M, window_size=EF_CONSTRUCTION
        )

    def save(self, folder: Path) -> None:
        for part in ("config", "graph", "data"):
            (folder / part).mkdir()
        self.index.save(str(folder / "config"), str(folder / "graph"), str(folder / "data"))

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        graph = self.library.GraphLoader(str(folder / "graph"))
        self.index = self.library.Vamana(
            str(folder / "config"), graph, self._loader(folder / "data"), self.library.DistanceType.MIP
        )

    def _loader(self, folder: Path) -> Any:
        return self.library.VectorDataLoader(str(folder), self.library.DataType.float16)

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        no_filter(search)
        if self.index.num_threads != search.threads:
            self.index.num_threads = search.threads
        parameters = self.index.search_parameters
        # No more are kept than are searched through; with two levels of codes the finer
        # one ranks all that are kept.
        parameters.buffer_config = self.library.SearchBufferConfig(search.ef, search.ef)
        self.index.search_parameters = parameters
        queries, k = search.queries, search.k
        return lambda: self.index.search(queries, k)[0], lambda ids: padded(ids, k)


class SvsLvq8(SvsF16):
    """The library's own compression. It runs only on processors of its maker and ends the
    process on others, which the benchmark then reports."""

    name = "svs-lvq8"
    settings = f"LVQ8, Vamana, degree {2 * M}, window {EF_CONSTRUCTION}, alpha 0.95"
    bits = (8, 0)

    def build(self, base: np.ndarray, threads: int) -> float:
        # It compresses only what it reads from a file, so reading that one is in the time.
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "base.fvecs")
            self.library.write_vecs(base, path)
            raw = self.library.VectorDataLoader(path, self.library.DataType.float32, base.shape[1])
            started = time.perf_counter()
            loader = self.library.LVQLoader(raw, primary=self.bits[0], residual=self.bits[1])
            self.index = self.library.Vamana.build(
                self._parameters(), loader, self.library.DistanceType.MIP, num_threads=threads
            )
            return time.perf_counter() - started

    def _loader(self, folder: Path) -> Any:
        return self.library.LVQLoader(str(folder))


class SvsLvq4x8(SvsLvq8):
    name = "svs-lvq4x8"
    settings = f"LVQ4x8, Vamana, degree {2 * M}, window {EF_CONSTRUCTION}, alpha 0.95"
    bits = (4, 8)
