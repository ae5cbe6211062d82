"""The commands one after the other on a tiny world: train, choose, report, export, assemble,
compare, table."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

from encoders import compare, data, evaluate, place, tables
from encoders.__main__ import main
from encoders.data import Source
from encoders.model import Bert
from encoders.pooling import Mean
from encoders.texts import Tokens, encode

from .support import translations, write_base

RECIPE = """
queries = 8
query_tokens = 8
text_tokens = 12
max_tokens = 12
latents = 8
learning_rate = 1e-3
dimensions = { 32 = 1.0 }
mixes = [0.5, 1.0]
device = "cpu"
first_layer = FIRST
[[stages]]
steps = 12
sources = [ { name = "scifact", share = 1.0 } ]
"""


def evaluation(_: Path, name: str) -> Source:
    source = translations(30, seed=len(name))
    source.name, source.held_out = name, []
    return source


class Commands(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.base = self.folder / "sources" / "all-MiniLM-L6-v2"
        write_base(self.base)
        untouched = translations(30, seed=5)
        untouched.held_out = list(range(30))
        self.patch(mock.patch.dict(os.environ, {"GLEANER_BENCH_DATA": str(self.folder), "GLEANER_CACHE": str(self.folder)}))
        self.patch(mock.patch.dict(data.SOURCES, {"scifact": lambda _: translations(), "graph-docstrings": lambda _: untouched}))
        self.patch(mock.patch.object(evaluate, "VALIDATION", [("scifact", 8, 40), ("graph-docstrings", 20, 30)]))
        self.patch(mock.patch.object(evaluate, "evaluation", evaluation))
        self.patch(mock.patch.object(compare, "evaluation", evaluation))
        self.patch(mock.patch.object(place, "REPORTS", self.folder / "reports"))
        self.patch(mock.patch.object(place, "MEASURED", self.folder / "measured"))
        self.out = self.folder / "runs" / "tiny"

    def patch(self, patcher) -> None:
        patcher.start()
        self.addCleanup(patcher.stop)

    def recipe(self, first: int) -> str:
        path = self.folder / ("tiny.toml" if first == 0 else "poolings.toml")
        path.write_text(RECIPE.replace("FIRST", str(first)), encoding="utf-8")
        return str(path)

    def run_command(self, *arguments: str) -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(main(list(arguments)), 0, said.getvalue())
        return said.getvalue()

    def test_from_a_recipe_to_a_model_folder(self) -> None:
        out, model = str(self.out), str(self.folder / "models" / "tiny")
        self.run_command("train", self.recipe(0), "--out", out)
        self.run_command("choose", "--out", out)
        run = json.loads((self.out / "run.json").read_text())
        self.assertIn(run["share"], (0.0, 0.5, 1.0))
        self.assertEqual(set(run["validation"]), {"0.0", "0.5", "1.0"})
        self.run_command("report", "--base")
        said = self.run_command("report", "--out", out)
        self.assertEqual(said.count("against the encoder as it was"), 4)
        log = (self.folder / "measured" / "log.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line)["name"] for line in log], ["all-minilm-l6-v2", "tiny"])
        self.run_command("export", "--out", out, "--to", model, "--graphs", str(self.folder / "graphs"))
        card = (self.folder / "models" / "tiny" / "README.md").read_text()
        self.assertIn("Seed 1, 12 steps", card)
        self.assertIn("| cranfield (test) |", card)
        self.run_command("assemble", model, str(self.folder / "full"))
        tokens = Tokens(self.folder / "full")
        rows = tokens.ids(translations().texts, 12)
        from encoders.run import load

        expected = encode(load(self.out, self.base)[0], Mean(), rows)
        found = encode(Bert.read(self.folder / "full"), Mean(), rows)
        self.assertGreater(float((expected * found).sum(1).min()), 0.99)
        self.assertIn("matryoshka = [", (self.folder / "models" / "tiny" / "trained.toml").read_text())
        # A checkpoint of another recipe is not gone on from.
        with contextlib.redirect_stderr(io.StringIO()) as complaint:
            self.assertEqual(main(["train", self.recipe(0), "--out", out, "--set", "queries=3"]), 1)
        self.assertIn("another recipe (queries)", complaint.getvalue())

    def test_the_poolings_are_compared_and_not_made_twice(self) -> None:
        recipe = self.recipe(1)
        arguments = ("compare", recipe, "--seeds", "2", "--poolings", "mean", "last", "multi_layer")
        said = self.run_command(*arguments)
        self.assertEqual(said.count("held out"), 1 + 6)
        found = compare.rows("poolings", self.folder / "reports")
        self.assertEqual({name: len(runs) for name, runs in found.items()}, {"as-it-is": 1, "mean": 2, "last": 2, "multi_layer": 2})
        # What was trained from the same start by the same batches differs by the pooling alone.
        first = [run["queries"]["scifact"]["ndcg@10"] for run in found["mean"]]
        self.assertFalse(np.allclose(first[0], found["multi_layer"][0]["queries"]["scifact"]["ndcg@10"]))
        self.assertEqual(self.run_command(*arguments).count("held out"), 0)
        target = self.folder / "encoders.md"
        target.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n", encoding="utf-8")
        self.run_command("table", "--into", str(target))
        written = target.read_text()
        self.assertTrue(written.startswith("before\n") and written.endswith("after\n"))
        self.assertIn("| multi-layer |", written)
        self.assertNotIn("old", written)

    def test_without_data_it_says_what_is_missing(self) -> None:
        said = io.StringIO()
        with mock.patch.dict(os.environ, {"GLEANER_BENCH_DATA": "/nowhere"}), contextlib.redirect_stderr(said):
            self.assertEqual(main(["report", "--base"]), 1)
        self.assertIn("GLEANER_BENCH_DATA", said.getvalue())


if __name__ == "__main__":
    unittest.main()
