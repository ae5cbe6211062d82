"""Cross-encoders: what they are fed, what the coupled weights are, and runs from end to end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import tomllib
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from encoders import bundle, place
from encoders.data import EVALUATION, Source
from encoders.export import ParityError
from rerankers import __main__ as commands
from rerankers import run as run_module
from rerankers import export, first_stage, losses, measures
from rerankers.__main__ import main
from rerankers.draws import Pool, draw_all
from rerankers.first_stage import Candidates, candidates
from rerankers.model import CrossEncoder
from rerankers.pairs import Tokeniser, pairs_of, score
from rerankers.recipe import Recipe
from rerankers.thinning import thin
from rerankers.trainer import Prepared, Trainer

from .support import WORDS, translations, write_base

STAGE = '{ steps = 6, way = "cet", distillation = 0.2, sources = [{ name = "nfcorpus", share = 1.0 }, { name = "scifact", share = 1.0 }] }'
RECIPE = f"""
queries = 6
negatives = 2
among = 6
query_tokens = 8
train_tokens = 20
max_tokens = 24
learning_rate = 1e-3
device = "cpu"
precision = "fp32"
threads = 1
mixes = [0.5, 1.0]
stages = [{{ steps = 6, way = "hard", distillation = 1.0, sources = [{{ name = "scifact", share = 1.0 }}] }}, {STAGE}]
"""


def world(folder: Path) -> "tuple[Path, Path]":
    """A bundle of tiny collections and a tiny base in a cache folder."""
    base = folder / "cache" / "sources" / "all-MiniLM-L6-v2"
    write_base(base)
    data = folder / "data"
    for seed, name in enumerate(("scifact", "nfcorpus", "medquad", "graph-docstrings")):
        bundle.pack(replace(translations(60, seed), name=name), data / "sources" / f"{name}.json.xz")
    for seed, name in enumerate(EVALUATION):
        bundle.pack(replace(translations(20, 10 + seed), name=name, held_out=[]), data / "evaluation" / f"{name}.json.xz")
    return data, base


class Models(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        write_base(self.folder)

    def test_pairs_are_what_the_tokenizer_makes_and_keep_the_query_whole(self) -> None:
        from tokenizers import Tokenizer
        from tokenizers.processors import TemplateProcessing

        queries, texts = [" ".join(WORDS[:n]) for n in (1, 4, 7)], [" ".join(WORDS[20 : 20 + n]) for n in (1, 9, 30)]
        pairs = pairs_of(Tokeniser(self.folder), queries, texts, 10, 20)
        reference = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        reference.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        reference.enable_truncation(20, strategy="only_second")
        for q, t in ((0, 0), (1, 1), (2, 2), (0, 2)):
            ids, types, mask = (part[0].numpy() for part in pairs.batch(torch.tensor([q]), torch.tensor([t]), 20))
            expected = reference.encode(queries[q], texts[t])
            length = int(mask.sum())
            self.assertEqual(ids[:length].tolist(), expected.ids)
            self.assertEqual(types[:length].tolist(), expected.type_ids)
            self.assertEqual(ids[length:].sum(), 0)

    def test_a_pair_scores_alike_alone_and_in_any_batch(self) -> None:
        model = CrossEncoder.start(self.folder, 1)
        source = translations(20)
        pairs = pairs_of(Tokeniser(self.folder), source.queries, source.texts, 8, 24)
        lists = np.tile(np.arange(10), (5, 1))
        lists[2, 7:] = -1
        together = score(model, pairs, lists, 24, "fp32", 4096)
        self.assertTrue(np.isneginf(together[2, 7:]).all() and np.isfinite(together[lists >= 0]).all())
        alone = score(model, pairs, lists, 24, "fp32", 1)
        np.testing.assert_allclose(together[lists >= 0], alone[lists >= 0], atol=1e-5)

    def test_only_layers_and_head_are_trained_and_come_back(self) -> None:
        model = CrossEncoder.start(self.folder, 1)
        self.assertFalse(any(p.requires_grad for p in model.bert.embeddings.parameters()))
        state = model.trained_state()
        self.assertIn("bert.pooler.dense.weight", state)
        self.assertIn("classifier.bias", state)
        self.assertIn("encoder.layer.0.attention.self.query.weight", state)
        other = CrossEncoder.start(self.folder, 2)
        self.assertFalse(torch.equal(other.classifier.weight, model.classifier.weight))
        other.load_trained(state)
        self.assertTrue(all(torch.equal(v, other.trained_state()[k]) for k, v in state.items()))
        with self.assertRaisesRegex(ValueError, "classifier.bias"):
            other.load_trained({k: v for k, v in state.items() if k != "classifier.bias"})


class Exports(unittest.TestCase):
    QUERIES = [" ".join(WORDS[i : i + n]) for i, n in ((0, 1), (5, 3), (40, 30))]
    PASSAGES = [" ".join(WORDS[i : i + n]) for i, n in ((1, 1), (5, 4), (30, 7), (60, 12), (80, 35))]
    TOKENS, CALIBRATION = 32, (1.5, 0.3)

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.base, self.out = self.folder / "base", self.folder / "models" / "some"
        write_base(self.base)
        self.model = CrossEncoder.start(self.base, 1)
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * (0.1 if parameter.dim() > 1 else 0.02))
            self.model.classifier.weight.mul_(8)
        self.probes = export.Probes.of(self.base, self.TOKENS, self.QUERIES, self.PASSAGES)

    def exported(self) -> dict:
        return export.export(
            self.model, self.base, self.out, self.TOKENS, self.CALIBRATION, self.folder / "graphs", self.probes
        )

    def test_every_form_scores_as_the_trained_model_does(self) -> None:
        parity = self.exported()
        self.assertEqual(set(parity), {"compact", "model.onnx", "model.int8.onnx"})
        self.assertLess(parity["model.onnx"]["difference"], 1e-5)
        self.assertEqual(parity["model.onnx"]["order"], 1.0)
        self.assertLess(parity["model.int8.onnx"]["difference"], 0.05)
        # By another way: as the tokenizer's own template makes pairs, and as the folder's names are read.
        expected = export.logits_of(self.model, self.probes, self.TOKENS).reshape(len(self.QUERIES), -1)
        self.assertGreater(expected.std(), 0.1)
        reference = json.loads((self.out / export.REFERENCE).read_text())
        for query, passage, logit in zip(*(reference[key] for key in ("queries", "passages", "logits"))):
            row, column = self.QUERIES.index(query), self.PASSAGES.index(passage)
            self.assertAlmostEqual(logit, float(expected[row, column]), places=4)

    def test_a_graph_that_says_something_else_is_refused_and_nothing_is_written(self) -> None:
        cross_encoder = export.cross_encoder

        def broken(weights, *rest):
            return cross_encoder({**weights, "pooler.dense.weight": -weights["pooler.dense.weight"]}, *rest)

        with mock.patch.object(export, "cross_encoder", broken), self.assertRaisesRegex(ParityError, "model.onnx"):
            self.exported()
        self.assertFalse(self.out.exists())

    def test_scores_and_orders_out_of_bounds_are_refused(self) -> None:
        expected = np.array([0.0, 1.0, 2.0, 3.0])
        arguments = expected, self.CALIBRATION, 4
        self.assertEqual(export.check("x", expected, *arguments, (0.01, 1.0)), {"difference": 0.0, "order": 1.0})
        for found in (expected[[1, 0, 2, 3]], expected * np.nan):
            with self.assertRaises(ParityError):
                export.check("x", found, *arguments, (1.0, 0.9))
        with self.assertRaises(ParityError):
            export.check("x", expected + 1, *arguments, (0.05, 0.9))

    def test_what_is_assembled_is_a_classifier_with_the_bases_embeddings(self) -> None:
        from safetensors.numpy import load_file

        self.exported()
        export.write_manifest(self.out, self.TOKENS, self.CALIBRATION, 0.4, [{"dataset": "a/test", "measure": "ndcg@10", "value": 0.5}])
        full = self.folder / "full"
        export.assemble(self.out, self.base, full)
        config = json.loads((full / "config.json").read_text())
        self.assertEqual((config["architectures"], len(config["id2label"])), (["BertForSequenceClassification"], 1))
        weights, base = load_file(full / "model.safetensors"), load_file(self.base / "model.safetensors")
        own = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
        self.assertEqual(set(weights), {f"bert.{name}" for name in base} | own)
        for name, value in base.items():
            self.assertEqual(np.array_equal(weights[f"bert.{name}"], value), name.startswith("embeddings"), name)
        manifest = tomllib.loads((self.out / "trained.toml").read_text())
        self.assertEqual(manifest["calibration"], {"temperature": 1.5, "offset": 0.3})
        self.assertEqual(set(manifest["files"]), {"layers.safetensors.gz", "head.safetensors.gz"})
        # Layers over other embeddings than their own are refused.
        write_base(self.base, seed=5)
        with self.assertRaisesRegex(ValueError, "belongs to"):
            export.assemble(self.out, self.base, full)


class Losses(unittest.TestCase):
    def test_pairwise_is_the_cross_entropy_of_two(self) -> None:
        scores = torch.randn(4, 3)
        for j in (1, 2):
            two = torch.stack([scores[:, 0], scores[:, j]], dim=1)
            expected = torch.nn.functional.cross_entropy(two, torch.zeros(4, dtype=torch.long), reduction="none")
            torch.testing.assert_close(losses.pairwise(scores)[:, j - 1], expected)

    def test_coupled_weights_are_the_papers_and_pass_no_gradient(self) -> None:
        other = torch.linspace(-20, 20, 9, requires_grad=True)
        weights = losses.coupled_weights(other, 10.0, 1e9)
        torch.testing.assert_close(weights, 1 / (1 - torch.sigmoid(other.detach() / 10.0)))
        self.assertFalse(weights.requires_grad)
        self.assertTrue(bool((weights[1:] > weights[:-1]).all()))
        self.assertEqual(float(losses.coupled_weights(torch.tensor([1e6]), 1.0, 10.0)), 10.0)

    def test_the_distance_is_zero_at_the_teacher(self) -> None:
        teacher = torch.rand(3, 5)
        self.assertAlmostEqual(float(losses.distance(teacher / 0.1, teacher, 0.1)), 0.0, places=6)
        self.assertGreater(float(losses.distance(torch.zeros(3, 5), teacher, 0.1)), 0.01)


class Measures(unittest.TestCase):
    def test_ties_and_gaps_are_ordered_as_the_service_does(self) -> None:
        lists = np.array([[7, 3, 5, -1]])
        self.assertEqual(measures.ordered(lists, np.array([[1.0, 1.0, 2.0, 9.0]])).tolist(), [[5, 3, 7, -1]])
        self.assertEqual(measures.reciprocal([5, 3, 7], {3: 1.0}), 0.5)
        self.assertEqual(measures.reciprocal(list(range(20)), {15: 1.0}), 0.0)

    def test_a_mix_goes_from_one_order_to_the_other(self) -> None:
        lists = np.array([[0, 1, 2]])
        first, second = np.array([[0.9, 0.5, 0.1]], dtype=np.float32), np.array([[0.1, 0.2, 0.3]])
        self.assertEqual(measures.ordered(lists, measures.blended(lists, first, second, 0.0)).tolist(), [[0, 1, 2]])
        self.assertEqual(measures.ordered(lists, measures.blended(lists, first, second, 1.0)).tolist(), [[2, 1, 0]])

    def test_calibration_finds_the_parameters_that_made_the_labels(self) -> None:
        generator = np.random.default_rng(0)
        scores = generator.normal(1.0, 4.0, 60_000).astype(np.float32)
        labels = generator.random(60_000) < measures.probability(scores, 2.0, 3.0)
        temperature, offset = measures.calibrate(scores, labels)
        self.assertAlmostEqual(temperature, 2.0, delta=0.1)
        self.assertAlmostEqual(offset, 3.0, delta=0.15)
        with self.assertRaisesRegex(ValueError, "both kinds"):
            measures.calibrate(scores, np.zeros(60_000, dtype=bool))


class Batches(unittest.TestCase):
    def setUp(self) -> None:
        self.source = translations(60)
        self.source.relevant = [{i: 3.0, (i + 1) % 60: 1.0} for i in range(60)]
        lists = np.array([np.roll(np.arange(60), -i)[:50] for i in range(60)], dtype=np.int32)
        scores = np.tile(np.linspace(1, 0, 50, dtype=np.float32), (60, 1))
        self.candidates = Candidates(lists, scores, lists[:, ::-1].copy(), [np.array([0, 30], dtype=np.int32)] * 60)

    def drawn(self, way: str, seed: int = 1):
        pools = {"a": Pool(self.source, self.candidates, way, 8)}
        return draw_all(pools, {"a": 1.0}, 20, 10, 3, 0.5, seed)[1]

    def test_ways_share_queries_and_answers_and_differ_in_the_rest(self) -> None:
        ways = {way: self.drawn(way) for way in ("words", "hard", "random", "cet")}
        for way, batches in ways.items():
            for one, other in zip(batches, ways["hard"]):
                np.testing.assert_array_equal(one.queries, other.queries)
                np.testing.assert_array_equal(one.texts[:, 0], other.texts[:, 0])
                held = set(self.source.held_out)
                self.assertFalse(held & set(one.queries.tolist()))
                for query, texts in zip(one.queries, one.texts):
                    self.assertIn(texts[0], self.source.relevant[query])
                    self.assertFalse(set(texts[1:].tolist()) & set(self.source.relevant[query]))
        self.assertTrue(all((a.texts == b.texts).all() for a, b in zip(ways["cet"], ways["hard"])))
        self.assertFalse(all((a.texts == b.texts).all() for a, b in zip(ways["words"], ways["hard"])))
        near = lambda batches: np.mean([((t[1:] - q) % 60 < 10).mean() for b in batches for q, t in zip(b.queries, b.texts)])
        self.assertEqual(near(ways["hard"]), 1.0)
        self.assertLess(near(ways["random"]), 0.75)
        self.assertTrue(all((a.texts == b.texts).all() for a, b in zip(ways["cet"], self.drawn("cet"))))
        first = ways["hard"][0]
        expected = 1 - ((first.texts - first.queries[:, None]) % 60) / 49
        np.testing.assert_allclose(first.teacher, np.where(expected >= 0, expected, 0), atol=1e-5)

    def test_thinning_keeps_what_is_shown_and_less_of_it_when_stronger(self) -> None:
        ranks = self.candidates.ranks
        strong, mild = (thin(self.source, ranks, depth) for depth in (10, 50))
        kept = lambda source: {(q, d) for q, judged in enumerate(source.relevant) for d in judged}
        self.assertTrue(kept(strong) <= kept(mild))
        self.assertGreater(sum(q in strong.relevant[q] for q in range(60)), 55)
        self.assertLess(len(kept(strong)), 65)
        self.assertGreater(len(kept(mild)), 110)
        self.assertEqual(kept(strong), kept(thin(self.source, ranks, 10)))

    def test_the_fusion_finds_what_either_leg_finds(self) -> None:
        words = np.array([[3.0, 0.0, 1.0, 0.0, 0.0]], dtype=np.float32)
        cosine = np.array([[0.1, 0.9, 0.2, 0.3, 0.0]], dtype=np.float32)
        with mock.patch.object(first_stage, "DEPTH", 3):
            fused, scores, lexical = first_stage.fuse(words, cosine)
        self.assertEqual(lexical.tolist(), [[0, 2, -1]])
        self.assertEqual(fused.tolist(), [[0, 1, 2]])
        np.testing.assert_allclose(scores[0], [0.5, 0.5, 1 / 6], atol=1e-6)


class Runs(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.data, self.base = world(self.folder)
        training = str(Path(__file__).resolve().parents[1])
        values = {"GLEANER_BENCH_DATA": str(self.data), "GLEANER_CACHE": str(self.folder / "cache"), "PYTHONPATH": training}
        for patcher in (mock.patch.dict(os.environ, values), mock.patch.object(place, "REPORTS", self.folder / "reports")):
            patcher.start()
            self.addCleanup(patcher.stop)
        self.recipe = self.folder / "tiny.toml"
        self.recipe.write_text(RECIPE)

    def run_command(self, *arguments: object) -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(main([str(a) for a in arguments]), 0, said.getvalue())
        return said.getvalue()

    def test_each_way_learns_and_repeats_itself(self) -> None:
        from encoders.data import read

        source = read(self.data, "scifact")
        lists = candidates(source, self.base, self.folder / "cache")
        recipe = Recipe.read(self.recipe, ["learning_rate=3e-3", "queries=12"])
        pairs = pairs_of(Tokeniser(self.base), source.queries, source.texts, 8, 20)
        for way in ("hard", "cet"):
            found = []
            for _ in range(2):
                recipe.stages = [replace(recipe.stages[0], steps=60, way=way, distillation=0.0)]
                model = CrossEncoder.start(self.base, 1)
                selection = CrossEncoder.start(self.base, 2) if way == "cet" else None
                log = Trainer(recipe, model, selection, {"scifact": Prepared(source, lists, pairs)}).run(0).table()
                found.append(log)
            np.testing.assert_array_equal(found[0], found[1])
            self.assertLess(found[0][-8:, 0].mean(), 0.75 * found[0][:4, 0].mean(), way)
            # Weights exist with the coupled estimation alone, and never fall below 1.
            self.assertEqual(np.isfinite(found[0][:, 4]).all(), way == "cet")
            if way == "cet":
                self.assertGreaterEqual(found[0][:, 4].min(), 1.0)
                self.assertLessEqual(found[0][:, 5].max(), recipe.largest_weight)

    def test_a_run_goes_on_from_its_checkpoint(self) -> None:
        from rerankers import run, trainer

        recipe = Recipe.read(self.recipe)
        arguments = (self.data, self.base, self.folder / "cache")

        def trained(out: Path, stops: "tuple[tuple[int, int], ...]") -> "dict[str, torch.Tensor]":
            step = Trainer._step
            for number, at in stops:

                def stopping(trainer: Trainer, stage, *rest):
                    if stage is trainer.recipe.stages[number]:
                        stopping.done += 1
                    if stopping.done > at:
                        raise KeyboardInterrupt
                    return step(trainer, stage, *rest)

                stopping.done = 0
                with mock.patch.object(Trainer, "_step", stopping), self.assertRaises(KeyboardInterrupt):
                    run.train(recipe, out, *arguments)
            run.train(recipe, out, *arguments)
            self.assertEqual(run.read_run(out)["steps"], 12)
            self.assertEqual([log["steps"] for log in run.read_run(out)["logs"]], [6, 6])
            return run.state_of(out, "after")

        with mock.patch.object(trainer, "CHECKPOINT", -1.0), contextlib.redirect_stdout(io.StringIO()):
            whole = trained(self.folder / "whole", ())
            parts = trained(self.folder / "parts", ((0, 2), (0, 3), (1, 0), (1, 3)))
            self.assertTrue(all(torch.equal(value, parts[name]) for name, value in whole.items()))
            with self.assertRaisesRegex(ValueError, "another recipe"):
                run.train(replace(recipe, seed=2), self.folder / "parts", *arguments)

    def test_a_session_from_end_to_end(self) -> None:
        out = self.folder / "session"
        arguments = ["session", self.recipe, "--study", self.folder / "study.toml", "--out", out, "--jobs", 2, "--scale", 0.2]
        (self.folder / "study.toml").write_text(RECIPE.split("stages =")[0] + 'stages = [{ steps = 3, sources = [{ name = "nfcorpus", share = 1.0 }] }]\n')
        try:
            said = self.run_command(*arguments, "--study-set", "negatives=1", "--seconds", 240)
        except AssertionError:
            for log in out.glob("*.log"):
                print(log.name, log.read_text()[-3000:])
            raise
        self.assertIn("best on held-out queries: tiny", said)
        # Elsewhere: what was kept is enough to go on with.
        other = self.folder / "other"
        self.run_command("restore", out / "keep", "--out", other)
        run = json.loads((other / "tiny" / "run.json").read_text())
        self.assertIn(run["chosen"]["share"], (0.5, 1.0))
        self.assertEqual(len(list((other / "study").glob("run-*.json"))), 24 + 3)
        self.assertTrue((self.folder / "reports" / "rerankers" / "tiny.json").is_file())
        # A report of the same choice scores nothing again; one of another depth does.
        with mock.patch.object(run_module.Held, "score", side_effect=RuntimeError("scored")):
            self.assertIn("scifact", self.run_command("report", "--out", other / "tiny"))
            with self.assertRaisesRegex(RuntimeError, "scored"):
                main(["report", "--out", str(other / "tiny"), "--depth", "50"])
        # The chosen run as files, its card and the tables.
        model = self.folder / "models" / "tiny"
        chosen = run["chosen"]
        if (chosen["temperature"], chosen["offset"]) == (1.0, 0.0):
            run["chosen"]["temperature"] = 2.0
            (other / "tiny" / "run.json").write_text(json.dumps(run))
            (self.folder / "reports" / "rerankers" / "tiny.json").unlink()
        with mock.patch.object(export, "INTEGER_PARITY", (0.05, 0.5)):
            said = self.run_command("export", "--out", other / "tiny", "--to", model)
        self.assertIn("model.int8.onnx", said)
        manifest = tomllib.loads((model / "trained.toml").read_text())
        self.assertEqual((manifest["kind"], manifest["max_tokens"]), ("reranker", 24))
        card = (model / "README.md").read_text()
        self.assertIn(f"| weight {chosen['weight']:g} (chosen) |", card)
        self.assertIn("coupled estimation", card)
        self.run_command("assemble", model, self.folder / "full")
        self.assertTrue((self.folder / "full" / "config.json").is_file())
        with mock.patch.object(commands, "MEASURED", other):
            tables = self.run_command("table")
        self.assertIn("| hard negatives, coupled estimation | 3 |", tables)
        self.assertNotIn("Not all", tables)


if __name__ == "__main__":
    unittest.main()
