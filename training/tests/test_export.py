"""Exports say what the trained encoder says, and fail where they do not."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from encoders import export, graph
from encoders.model import Bert
from encoders.pooling import make
from encoders.texts import Tokens, encode

from .support import WORDS, write_base
from .test_pooling import shaken

PROBES = [" ".join(WORDS[i : i + n]) for i, n in ((0, 1), (3, 5), (20, 12), (50, 30))]


class Exports(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.base = self.folder / "base"
        write_base(self.base)
        self.bert = Bert.read(self.base)
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in self.bert.encoder.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)

    def pooling(self, name: str) -> torch.nn.Module:
        torch.manual_seed(1)
        made = make(name, 32, 3, latents=6, heads=8)
        return shaken(made) if name not in ("mean", "last") else made

    def exported(self, name: str) -> dict:
        return export.export(name, self.bert, self.pooling(name), self.base, self.folder / name, 40, self.folder / "graphs", PROBES)

    def test_parity_of_every_pooling_with_a_graph(self) -> None:
        for name in ("mean", "latent_attention", "multi_layer"):
            with self.subTest(name):
                parity = self.exported(name)
                self.assertGreaterEqual(parity["encoder.onnx"], 0.99999)
                self.assertGreaterEqual(parity["encoder.int8.onnx"], 0.99)
                self.assertGreaterEqual(parity["compact"], 0.99)
                self.assertTrue((self.folder / "graphs" / "encoder.onnx").is_file())
                if name != "mean":
                    self.assertGreaterEqual(parity["head.onnx"], 0.99999)
                    self.assertTrue((self.folder / name / "head.safetensors").is_file())

    def test_an_arithmetic_pooling_needs_no_graph(self) -> None:
        self.assertEqual(list(self.exported("last")), ["compact"])

    def test_a_wrong_graph_fails_and_leaves_nothing(self) -> None:
        fused = graph.fused

        def broken(name, weights, *rest):
            first = "encoder.layer.0.output.dense.weight"
            return fused(name, {**weights, first: -3 * weights[first]}, *rest)

        with mock.patch.object(graph, "fused", broken), self.assertRaisesRegex(export.ParityError, "encoder.onnx"):
            self.exported("mean")
        self.assertFalse((self.folder / "mean").exists())

    def test_vectors_that_are_not_finite_fail(self) -> None:
        one = np.ones((2, 3))
        with self.assertRaises(export.ParityError):
            export.check("x", one * np.nan, one, 0.5)

    def test_compact_layers_come_back_within_half_a_step(self) -> None:
        weights = {"a.weight": np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32), "a.bias": np.arange(5, dtype=np.float32)}
        weights["a.weight"][2] = 0
        path = self.folder / "some.safetensors"
        export.compact(weights, path, "00")
        back = export.expanded(path)
        steps = np.abs(weights["a.weight"]).max(1, keepdims=True) / 127
        self.assertTrue((np.abs(back["a.weight"] - weights["a.weight"]) <= steps / 2 + 1e-7).all())
        np.testing.assert_array_equal(back["a.bias"], weights["a.bias"])
        self.assertEqual(export.metadata(path)["format"], export.FORMAT)

    def test_assembling_gives_a_folder_that_encodes_as_trained(self) -> None:
        self.exported("mean")
        model = self.folder / "mean"
        export.write_manifest(model, "tiny", "mean", 40, 32, [{"dataset": "x", "measure": "ndcg@10", "value": 0.5}])
        out = self.folder / "assembled"
        export.assemble(model, self.base, out)
        rows = Tokens(out).ids(PROBES, 40)
        cosine = (encode(Bert.read(out), make("mean", 32, 3), rows) * encode(self.bert, make("mean", 32, 3), rows)).sum(1)
        self.assertGreater(cosine.min(), 0.99)
        np.testing.assert_array_equal(
            Bert.read(out).embeddings.word_embeddings.weight.detach(), Bert.read(self.base).embeddings.word_embeddings.weight.detach()
        )

    def test_layers_of_another_base_are_refused(self) -> None:
        self.exported("mean")
        export.write_manifest(self.folder / "mean", "tiny", "mean", 40, 32, [])
        write_base(self.folder / "other", seed=9)
        with self.assertRaisesRegex(ValueError, "belong to"):
            export.assemble(self.folder / "mean", self.folder / "other", self.folder / "out")


if __name__ == "__main__":
    unittest.main()
