"""From a run to `models/NAME`: the network in f16, the manifest, vectors to compare with, the card."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, List

import numpy as np
import onnxruntime
import torch

from . import graph
from .model import GraphCoder, batch_of
from .states import Encoder, Kept, keep, keep_texts, read_graphs
from .trainer import Recipe

NETWORK = "code.onnx"
REFERENCE = "reference.json"
#: Cosine between the trained network and the service's, whose transformer is the same int8 graph.
LEAST = 0.999

#: Varied in language and length; broken, empty of definitions, and no code at all.
PROBES = [
    ("python", "def add(a, b):\n    return a + b"),
    ("python", 'def rejected(rows, path):\n    """Write the rows that do not fit to a file."""\n    with open(path, "w") as out:\n        for row in rows:\n            if not row.fits():\n                out.write(json.dumps(row.as_dict()) + "\\n")'),
    ("rust", "/// The larger of two.\npub fn larger(a: u32, b: u32) -> u32 {\n    if a > b { a } else { b }\n}"),
    ("rust", "fn broken(x: &str) -> Option<usize> { x.find('a'"),
    ("javascript", "function once(f) {\n  let done = false, value;\n  return (...args) => done ? value : (done = true, value = f(...args));\n}"),
    ("typescript", "export const pick = <T, K extends keyof T>(from: T, keys: K[]): Pick<T, K> =>\n  keys.reduce((found, key) => ({ ...found, [key]: from[key] }), {} as Pick<T, K>);"),
    ("java", "public int count(String text, char wanted) {\n    int found = 0;\n    for (char c : text.toCharArray()) {\n        if (c == wanted) found++;\n    }\n    return found;\n}"),
    ("go", "func Reverse(s []int) {\n\tfor i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {\n\t\ts[i], s[j] = s[j], s[i]\n\t}\n}"),
    ("c", "size_t length(const char *s) { const char *p = s; while (*p) p++; return p - s; }"),
    ("python", "x = 1"),
    (None, "how to write rows that do not fit to a file"),
    (None, "x"),
]


class ParityError(Exception):
    """The exported network does not say what the trained one says."""


def weights_of(model: GraphCoder) -> Dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def probes(binary: Path, encoder: Encoder, recipe: Recipe, most: int) -> "tuple":
    """Graphs and states of the probes that are code, as the service makes them."""
    with tempfile.TemporaryDirectory() as folder:
        lines, features = Path(folder) / "probes.jsonl", Path(folder) / "probes.arrow"
        rows = [{"id": str(n), "language": l, "code": c} for n, (l, c) in enumerate(PROBES) if l]
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        command = [str(binary), "code", "features", str(lines), "--tokenizer", str(encoder.folder), "--out", str(features)]
        command += ["--max-tokens", str(most), "--nodes", str(recipe.nodes)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        graphs = read_graphs(features)
        kept = keep(encoder, graphs, Path(folder), show=False)
        return graphs, Kept([np.array(one) for one in kept.nodes], kept.embeddings)


@torch.no_grad()
def check(model: GraphCoder, network: bytes, graphs, kept: Kept, encoder: Encoder) -> "tuple[float, np.ndarray]":
    """Least cosine between the two, each probe alone; and the trained network's vectors."""
    model.eval()
    session = onnxruntime.InferenceSession(network)
    wanted = model(batch_of(range(len(graphs)), kept, graphs)).numpy()
    least = 1.0
    for place in range(len(graphs)):
        nodes = len(graphs.kinds[place])
        lists = (np.zeros(nodes), graphs.kinds[place], graphs.parents[place], graphs.children[place], graphs.first[place], graphs.end[place])
        feed = {name: np.asarray(values, dtype=np.int64) for name, values in zip(graph.LISTS, lists)}
        (states,) = encoder.states([graphs.tokens[place]])
        (found,) = session.run(None, {"token_states": states[None], **feed})
        least = min(least, float(found[0] @ wanted[place]))
    return least, wanted


def export(model: GraphCoder, recipe: Recipe, vocabulary: int, encoder: Encoder, binary: Path, to: Path, most: int) -> Dict[str, object]:
    """Writes the network, `reference.json` and `trained.toml`; returns what the card tells of it."""
    network = graph.network(weights_of(model), model.hidden, recipe.ratio, recipe.layers).SerializeToString()
    graphs, kept = probes(binary, encoder, recipe, most)
    least, wanted = check(model, network, graphs, kept, encoder)
    if least < LEAST:
        raise ParityError(f"the network's cosine with the trained one is {least:.5f}")
    to.mkdir(parents=True, exist_ok=True)
    (to / NETWORK).write_bytes(network)
    vectors: List[List[float]] = []
    code = iter(wanted)
    for language, text in PROBES:
        if language:
            vector = next(code)
        else:
            (state,) = encoder.states(encoder.ids([text], most))
            vector = state.mean(axis=0)
            vector = vector / np.linalg.norm(vector)
        vectors.append([round(float(value), 5) for value in vector])
    reference = {
        "texts": [text for _, text in PROBES],
        "languages": [language for language, _ in PROBES],
        "vectors": vectors,
        "least": LEAST,
    }
    (to / REFERENCE).write_text(json.dumps(reference) + "\n", encoding="utf-8")
    digest = hashlib.sha256(network).hexdigest()
    (to / "trained.toml").write_text(
        f"""# A network over the syntax of code; training/README.md describes the files.
name = "{to.name}"
format = "gleaner-layers-1"
kind = "text-encoder"
base = "all-MiniLM-L6-v2"
layers_of = "{encoder.name}"
pooling = "mean"
normalize = true
max_tokens = 256
licence = "Apache-2.0"

[code]
graph = "{NETWORK}"
nodes = {recipe.nodes}
vocabulary = {vocabulary}

[files]
"{NETWORK}" = "{digest}"
""",
        encoding="utf-8",
    )
    return {"bytes": len(network), "least": least}
