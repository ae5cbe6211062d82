"""What the frozen encoder says of functions and queries, computed once and kept.

Of a function: the mean state of the tokens that each node of its graph covers, and of all tokens,
which is the encoder's own embedding. The graphs come from `gleaner code features`, and the states
from the int8 graph that the service runs, so that training sees what serving will.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
import onnxruntime
import pyarrow as pa
from tokenizers import Tokenizer

#: Functions in a file of states.
CHUNK = 2048
#: Tokens that are encoded at once.
BUDGET = 4096
HIDDEN = 384


@dataclass
class Graphs:
    """The columns of a file of features, one entry a function."""

    ids: List[str]
    tokens: List[np.ndarray]
    kinds: List[np.ndarray]
    parents: List[np.ndarray]
    children: List[np.ndarray]
    first: List[np.ndarray]
    end: List[np.ndarray]
    vocabulary: int

    def __len__(self) -> int:
        return len(self.ids)


def read_graphs(path: Path) -> Graphs:
    table = pa.ipc.open_file(str(path)).read_all()

    def lists(name: str, kind: type) -> List[np.ndarray]:
        column = table[name].combine_chunks()
        offsets = column.offsets.to_numpy()
        values = column.values.to_numpy(zero_copy_only=False).astype(kind)
        return np.split(values[offsets[0] : offsets[-1]], offsets[1:-1] - offsets[0])

    return Graphs(
        ids=table["id"].to_pylist(),
        tokens=lists("tokens", np.int64),
        kinds=lists("kinds", np.int32),
        parents=lists("parents", np.int32),
        children=lists("children", np.int32),
        first=lists("first_token", np.int32),
        end=lists("end_token", np.int32),
        vocabulary=int(table.schema.metadata[b"vocabulary"]),
    )


class Encoder:
    """The int8 encoder in a model folder, over token ids."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait by spinning take the cores from one another.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.name, self.folder = folder.name, folder

    def ids(self, texts: Sequence[str], most: int) -> List[np.ndarray]:
        self.tokenizer.enable_truncation(most)
        return [np.array(one.ids, dtype=np.int64) for one in self.tokenizer.encode_batch(list(texts))]

    def states(self, rows: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Token states of each, [tokens, 384]; those of one length together, as the service has it."""
        found: List[np.ndarray] = [np.empty(0)] * len(rows)
        by_length: Dict[int, List[int]] = {}
        for place, row in enumerate(rows):
            by_length.setdefault(len(row), []).append(place)
        for length, places in by_length.items():
            most = max(1, BUDGET // length)
            for start in range(0, len(places), most):
                batch = places[start : start + most]
                ids = np.stack([rows[place] for place in batch])
                (states,) = self.session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
                for place, state in zip(batch, states):
                    found[place] = state
        return found


def means(states: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Means of states[first:end] for each; zeros where nothing is covered."""
    sums = np.concatenate([np.zeros((1, states.shape[1]), np.float32), np.cumsum(states, axis=0, dtype=np.float32)])
    count = np.maximum(end - first, 1)[:, None].astype(np.float32)
    return (sums[end] - sums[first]) / count


def key(row: np.ndarray, *more: np.ndarray) -> bytes:
    mark = hashlib.blake2b(row.tobytes(), digest_size=16)
    for part in more:
        mark.update(part.tobytes())
    return mark.digest()


@dataclass
class Kept:
    """States of functions: nodes one function after the other, f16, and the means of all tokens."""

    nodes: List[np.ndarray]
    embeddings: np.ndarray


def keep(encoder: Encoder, graphs: Graphs, folder: Path, show: bool = True) -> Kept:
    """States of all functions; what `folder` holds of them is not computed again."""
    folder = folder / encoder.name
    folder.mkdir(parents=True, exist_ok=True)
    keys = [key(*parts) for parts in zip(graphs.tokens, graphs.first, graphs.end)]
    known: Dict[bytes, Tuple[int, int, int, int]] = {}
    files: List[Tuple[np.ndarray, np.ndarray]] = []

    def load(path: Path) -> None:
        about = np.load(path.with_suffix(".npz"))
        for place, (mark, start, end) in enumerate(zip(about["keys"], about["starts"][:-1], about["starts"][1:])):
            known[bytes(mark)] = (len(files), place, int(start), int(end))
        files.append((np.load(path, mmap_mode="r"), about["embeddings"]))

    for path in sorted(folder.glob("chunk-*.npy")):
        load(path)
    missing = [place for place, mark in enumerate(keys) if mark not in known]
    began = time.monotonic()
    for at in range(0, len(missing), CHUNK):
        places = missing[at : at + CHUNK]
        states = encoder.states([graphs.tokens[place] for place in places])
        nodes = [means(state, graphs.first[p], graphs.end[p]).astype(np.float16) for state, p in zip(states, places)]
        path = folder / f"chunk-{len(files):03}.npy"
        starts = np.concatenate([[0], np.cumsum([len(one) for one in nodes])])
        marks = np.frombuffer(b"".join(keys[p] for p in places), dtype=np.uint8).reshape(-1, 16)
        embeddings = np.stack([state.mean(axis=0) for state in states]).astype(np.float32)
        np.savez(path.with_suffix(".npz"), keys=marks, starts=starts, embeddings=embeddings)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, np.concatenate(nodes))
        os.replace(partial, path)
        load(path)
        if show:
            print(f"states: {at + len(places)} of {len(missing)}, {time.monotonic() - began:.0f} s", flush=True)
    nodes, embeddings = [], np.empty((len(keys), HIDDEN), np.float32)
    for place, mark in enumerate(keys):
        file, inside, start, end = known[mark]
        nodes.append(files[file][0][start:end])
        embeddings[place] = files[file][1][inside]
    return Kept(nodes, embeddings)


def trimmed(graphs: Graphs, kept: Kept, most: int) -> "tuple[Graphs, Kept]":
    """Graphs of at most so many nodes, as `gleaner code features --nodes` would leave them: the deepest
    are left out first, then the last. Their states lie in memory from then on."""
    parts: Dict[str, List[np.ndarray]] = {name: [] for name in ("kinds", "parents", "children", "first", "end", "nodes")}
    for place in range(len(graphs)):
        parents, nodes = graphs.parents[place], kept.nodes[place]
        chosen = np.arange(len(parents))
        if len(parents) > most:
            depth = np.zeros(len(parents), dtype=np.int32)
            for node in range(1, len(parents)):
                depth[node] = depth[parents[node]] + 1
            chosen = np.sort(np.lexsort((chosen, depth))[:most])
            now = np.zeros(len(parents), dtype=np.int32)
            now[chosen] = np.arange(len(chosen))
            parents = now[parents[chosen]]
        parts["parents"].append(parents)
        for name in ("kinds", "children", "first", "end"):
            parts[name].append(getattr(graphs, name)[place][chosen])
        parts["nodes"].append(np.array(nodes[chosen]))
    nodes = parts.pop("nodes")
    return replace(graphs, **parts), Kept(nodes, kept.embeddings)


def keep_texts(encoder: Encoder, texts: Sequence[str], folder: Path, most: int = 64) -> np.ndarray:
    """Mean states of texts, [texts, 384], kept under a digest of all of them."""
    mark = hashlib.sha256("\x00".join(texts).encode()).hexdigest()[:16]
    path = folder / encoder.name / f"texts-{mark}.npy"
    if path.is_file():
        return np.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = np.empty((len(texts), HIDDEN), np.float32)
    for start in range(0, len(texts), CHUNK):
        part = encoder.ids(texts[start : start + CHUNK], most)
        for place, state in enumerate(encoder.states(part)):
            found[start + place] = state.mean(axis=0)
    np.save(path, found)
    return found
