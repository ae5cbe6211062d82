"""The graph part of code search: its arithmetic, its independence of batches, its export, its data."""

from __future__ import annotations

import json
import random
import tempfile
import unittest
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import onnxruntime
import torch

from coders import collect, graph, tuned
from coders.measures import angles, measure
from coders.model import Batch, FAConv, GraphCoder, batch_of, top
from coders.states import Graphs, Kept, means, trimmed
from coders.trainer import Functions, Recipe, held_out, train
from encoders.model import Bert, Shape

HIDDEN, KINDS, TOKENS = 16, 20, 12


def graphs_of(sizes: List[int], seed: int = 0, tokens: int = TOKENS) -> Tuple[Graphs, np.ndarray]:
    """Trees of these sizes over random token states, [graphs, tokens, hidden]."""
    chance = np.random.default_rng(seed)
    parts: Dict[str, List[np.ndarray]] = {name: [] for name in ("kinds", "parents", "children", "first", "end")}
    for size in sizes:
        parents = np.array([0] + [int(chance.integers(0, node)) for node in range(1, size)], dtype=np.int32)
        spans = np.sort(chance.integers(0, tokens + 1, (size, 2)), axis=1).astype(np.int32)
        parts["kinds"].append(chance.integers(0, KINDS, size).astype(np.int32))
        parts["parents"].append(parents)
        parts["children"].append(np.bincount(parents[1:], minlength=size).astype(np.int32))
        parts["first"].append(spans[:, 0])
        parts["end"].append(spans[:, 1])
    rows = [np.arange(tokens) for _ in sizes]
    states = chance.normal(size=(len(sizes), tokens, HIDDEN)).astype(np.float32)
    return Graphs(ids=[str(n) for n in range(len(sizes))], tokens=rows, vocabulary=KINDS, **parts), states


def kept_of(graphs: Graphs, states: np.ndarray) -> Kept:
    nodes = [means(states[n], graphs.first[n], graphs.end[n]) for n in range(len(graphs))]
    return Kept(nodes, states.mean(axis=1))


def shaken(**options: object) -> GraphCoder:
    """A model whose every weight matters."""
    torch.manual_seed(1)
    model = GraphCoder(HIDDEN, KINDS, width=8, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


class Arithmetic(unittest.TestCase):
    def test_the_convolution_is_the_papers(self) -> None:
        torch.manual_seed(0)
        convolution = FAConv(4)
        x, first = torch.randn(4, 4), torch.randn(4, 4)
        # 1 and 2 are children of 0, 3 is one of 1.
        edges = [(1, 0), (2, 0), (3, 1)]
        source, target = (torch.tensor(side) for side in zip(*edges))
        degree = [3, 2, 1, 1]
        wanted = 0.1 * first
        for j, i in [*edges, (0, 0), (1, 1), (2, 2), (3, 3)]:
            weight = torch.tanh(x[j] @ convolution.left + x[i] @ convolution.right) / (degree[i] * degree[j]) ** 0.5
            wanted[i] = wanted[i] + weight * x[j]
        torch.testing.assert_close(convolution(x, first, source, target), wanted)

    def test_of_each_graph_the_best_share_stays_in_its_order(self) -> None:
        score = torch.tensor([1.0, 5.0, 3.0, 2.0, 2.0, 9.0])
        belongs = torch.tensor([0, 0, 0, 1, 1, 2])
        self.assertEqual(top(score, belongs, 3, 0.5).tolist(), [1, 2, 3, 5])

    def test_a_vector_does_not_depend_on_its_batch(self) -> None:
        graphs, states = graphs_of([1, 9, 30, 4])
        kept = kept_of(graphs, states)
        for pooling in ("ast", "learned", "mean", "max"):
            model = shaken(pooling=pooling)
            with torch.no_grad():
                together = model(batch_of(range(4), kept, graphs))
                alone = torch.cat([model(batch_of([n], kept, graphs)) for n in range(4)])
            torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)

    def test_untrained_it_is_near_the_encoder(self) -> None:
        graphs, states = graphs_of([20, 20])
        kept = kept_of(graphs, states)
        plain = GraphCoder(HIDDEN, KINDS, graph=False)(batch_of([0, 1], kept, graphs, graph=False))
        own = torch.nn.functional.normalize(torch.from_numpy(kept.embeddings), dim=-1)
        torch.testing.assert_close(plain, own)

    def test_graphs_are_trimmed_from_their_depths(self) -> None:
        graphs, states = graphs_of([6])
        graphs.parents[0] = np.array([0, 0, 1, 2, 0, 4], dtype=np.int32)
        small, kept = trimmed(graphs, kept_of(graphs, states), 4)
        self.assertEqual(small.parents[0].tolist(), [0, 0, 1, 0])
        self.assertEqual(small.kinds[0].tolist(), graphs.kinds[0][[0, 1, 2, 4]].tolist())
        self.assertEqual(len(kept.nodes[0]), 4)


class Export(unittest.TestCase):
    def test_the_network_in_onnx_is_the_one_that_was_trained(self) -> None:
        graphs, states = graphs_of([1, 30, 7, 2], seed=3)
        batch = batch_of(range(4), kept_of(graphs, states), graphs)
        for options in ({}, {"both": True}, {"gate": "input"}, {"pooling": "learned"}):
            model = shaken(**options)
            with torch.no_grad():
                wanted = model(batch).numpy()
            weights = {name: value.numpy() for name, value in model.state_dict().items()}
            session = onnxruntime.InferenceSession(graph.network(weights, HIDDEN, 0.5, 3).SerializeToString())
            lists = (
                batch.graph.numpy(), batch.kinds.numpy(), batch.parents.numpy(), batch.children.numpy(),
                np.concatenate(graphs.first), np.concatenate(graphs.end),
            )
            feed = {name: values.astype(np.int64) for name, values in zip(graph.LISTS, lists)}
            (found,) = session.run(None, {"token_states": states, **feed})
            self.assertGreater((found * wanted).sum(axis=1).min(), 0.9999, options)


class Training(unittest.TestCase):
    def test_it_learns_which_nodes_matter(self) -> None:
        """The query is the state of the only node of one kind: the encoder's mean hides it."""
        chance = np.random.default_rng(0)
        graphs, states = graphs_of([10] * 300, seed=5)
        kept = kept_of(graphs, states)
        for n in range(300):
            graphs.kinds[n] = np.where(np.arange(10) == 4, 7, chance.integers(8, KINDS, 10)).astype(np.int32)
            kept.nodes[n] = chance.normal(size=(10, HIDDEN)).astype(np.float32)
        kept = Kept(kept.nodes, np.stack([nodes.mean(axis=0) for nodes in kept.nodes]))
        queries = np.stack([nodes[4] for nodes in kept.nodes])
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        functions = Functions(graphs, kept, queries, [""] * 300, ["bare"] * 300, ["python"] * 300, np.arange(300) % 5 == 0)
        recipe = Recipe(width=8, batch=60, epochs=25, learning_rate=2e-2, temperature=0.1)
        found = {}
        for pooling in ("none", "learned"):
            recipe.pooling = pooling
            model, _ = train(recipe, functions, show=False)
            found[pooling] = held_out(model, functions)["mean"]
        self.assertGreater(found["learned"], found["none"] + 0.1, found)


class LastLayer(unittest.TestCase):
    def setUp(self) -> None:
        torch.manual_seed(3)
        self.bert = Bert(Shape(hidden=HIDDEN, layers=2, heads=2, intermediate=32, vocabulary=50, positions=20)).eval()
        chance = np.random.default_rng(4)
        self.rows = [chance.integers(0, 50, int(length)).astype(np.int64) for length in chance.integers(3, TOKENS, 200)]
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def entering(self, rows: List[np.ndarray], name: str) -> tuned.Entering:
        return tuned.Entering(self.bert, rows, self.folder / name, show=False)

    def test_what_is_kept_and_the_last_layer_are_the_whole_encoder(self) -> None:
        found = tuned.vectors_of(self.bert.layers[-1], self.entering(self.rows, "code"))
        for row, vector in zip(self.rows, found):
            with torch.no_grad():
                states = self.bert(torch.from_numpy(row)[None], torch.ones(1, len(row), dtype=torch.int64))[0].mean(dim=0)
            cosine = float(torch.nn.functional.cosine_similarity(states, torch.from_numpy(vector), dim=0))
            self.assertGreater(cosine, 0.995)

    def test_training_brings_queries_to_their_functions(self) -> None:
        graphs, _ = graphs_of([3] * 200)
        # Asked for by tokens that are as far from theirs in the vocabulary, whatever that takes to learn.
        queries = [(row + 7) % 50 for row in self.rows]
        code, asked = self.entering(self.rows, "code"), self.entering(queries, "queries")
        functions = Functions(
            graphs, Kept([], np.empty((0, HIDDEN))), np.empty((0, HIDDEN)), [""] * 200, ["typed"] * 200, ["python"] * 200,
            np.arange(200) % 5 == 0,
        )
        pairs = tuned.Pairs(functions, code, asked)
        right = functions.places(True)

        def found(layer: torch.nn.Module) -> float:
            return measure(tuned.vectors_of(layer, asked)[right], tuned.vectors_of(layer, code)[right], np.arange(len(right)))["mrr"]

        layer, losses = tuned.tune(tuned.Tuning(batch=40, epochs=40, learning_rate=5e-3, repeat=1, threads=1), self.bert.layers[-1], pairs, show=False)
        self.assertLess(np.mean(losses[-10:]), np.mean(losses[:10]))
        self.assertGreater(found(layer), found(self.bert.layers[-1]) + 0.1)


class Measures(unittest.TestCase):
    def test_ties_count_against_the_right_one(self) -> None:
        code = np.eye(3, dtype=np.float32)[[0, 0, 1]]
        found = measure(code[:1], code, np.array([0]))
        self.assertEqual(found["mrr"], 0.5)

    def test_angles_are_in_degrees(self) -> None:
        code = np.eye(2, dtype=np.float32)
        found = angles(code[:1], code, np.array([0]))
        self.assertAlmostEqual(found["pairwise"], 90, places=3)
        self.assertAlmostEqual(found["margin"], 90, places=3)


class Collecting(unittest.TestCase):
    def test_documentation_is_told_from_code(self) -> None:
        code = '    def a(self, b):\n        """Adds.\n\n        More.\n        """\n        # inside\n        return b + 1\n'
        self.assertEqual(collect.without_docstring(code, "python"), "def a(self, b):\n    # inside\n    return b + 1")
        rust = "    /// Adds.\n    #[inline]\n    fn a(b: u32) -> u32 {\n        b + 1 // inside\n    }"
        self.assertEqual(collect.without_docstring(rust, "rust"), "#[inline]\nfn a(b: u32) -> u32 {\n    b + 1 // inside\n}")
        self.assertIsNone(collect.without_docstring("def a(): pass", "python"))

    def test_a_text_is_the_first_sentence(self) -> None:
        said = collect.first_sentence
        self.assertEqual(said("Return the `rows` that fit.\nOthers go.\n\nMore."), "Return the rows that fit")
        self.assertEqual(said("Counts the rows of :class:`~a.Table` by hand"), "Counts the rows of a.Table by hand")
        self.assertIsNone(said("TODO write this down some day"))
        self.assertIsNone(said(":param a: what it is"))
        self.assertIsNone(said("Adds."))

    def test_licences(self) -> None:
        for text in ("MIT", "Apache-2.0 OR GPL-3.0", "BSD License", "MIT OR Apache-2.0"):
            self.assertTrue(collect.licence_is_permissive(text), text)
        for text in ("", "GPL-3.0", "LGPL-2.1-or-later", "MPL-2.0", "Proprietary"):
            self.assertFalse(collect.licence_is_permissive(text), text)

    def test_what_an_evaluation_set_holds_is_left_out(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_world(folder)
            summary = collect.collect([("npm", folder / "npm", folder / "units.jsonl")], folder / "code", folder / "out.jsonl")
            rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        self.assertEqual(sorted(row["id"] for row in rows), ["conala/0", "fresh"])
        self.assertEqual(summary["counts"]["in evaluation sets"], 2)
        self.assertEqual(summary["counts"]["twice"], 1)


def write_world(folder: Path) -> None:
    import gzip

    (folder / "npm" / "good").mkdir(parents=True)
    (folder / "npm" / "bad").mkdir()
    (folder / "npm" / "good" / "package.json").write_text('{"license": "MIT"}')
    (folder / "npm" / "bad" / "package.json").write_text('{"license": "GPL-3.0"}')
    known = "function total(list) { let sum = 0; for (const one of list) { sum += one.price; } return sum; }"
    fresh = "function pick(rows, wanted) { return rows.filter((row) => wanted.has(row.name)).map((row) => row.value); }"
    other = "function drop(cache, keys) { keys.forEach((key) => { cache.entries.delete(key); cache.size -= 1; }); }"

    def unit(id: str, code: str, text: str, package: str = "good") -> str:
        row = {"id": id, "path": f"{package}/a.js", "language": "javascript", "kind": "function", "docstring": text, "code": f"/** {text} */\n{code}"}
        return json.dumps(row) + "\n"

    (folder / "units.jsonl").write_text(
        unit("known-code", known, "Adds the prices of all things")
        + unit("known-text", other, "Removes entries from the cache now")
        + unit("fresh", fresh, "Takes the values of wanted rows")
        + unit("copy", fresh, "Takes the values of wanted rows once more")
        + unit("copyleft", other, "Something that nobody said before", "bad")
    )
    code = folder / "code"
    (code / "cosqa").mkdir(parents=True)
    (code / "cosqa" / "corpus.jsonl").write_text(json.dumps({"_id": "0", "text": known}) + "\n")
    (code / "cosqa" / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "removes entries from the cache now"}) + "\n")
    with gzip.open(code / "python_docstrings.jsonl.gz", "wt") as lines:
        lines.write(json.dumps({"input": "Says nothing . [CODESPLIT] def f ( ) : pass"}) + "\n")
    (code / "conala_train.json").write_text(json.dumps([{"intent": "how to sort a list", "snippet": "sorted(a)", "question_id": 1}]))


if __name__ == "__main__":
    random.seed(0)
    unittest.main()
