"""Small runs from end to end: they must learn, go on where they were stopped, and repeat."""

from __future__ import annotations

import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from encoders.evaluate import measure, mixed, subset
from encoders.model import Bert
from encoders.pooling import NAMES, Mean
from encoders.recipe import Part, Recipe, Stage
from encoders.states import freeze
from encoders.teacher import mine
from encoders.texts import Tokens, encode, padded
from encoders.trainer import Trainer, draw, kinds_loss, prepare

from .support import WORDS, translations, write_base


def recipe(**changes: object) -> Recipe:
    stage = Stage(steps=60, sources=[Part("translations", 1.0)])
    values = dict(
        name="tiny",
        queries=12,
        negatives=2,
        query_tokens=8,
        text_tokens=12,
        max_tokens=12,
        learning_rate=3e-3,
        head_learning_rate=3e-3,
        distillation=0.1,
        mixing=True,
        latents=4,
        dimensions={"32": 1.0, "16": 0.3},
        stages=[stage],
        device="cpu",
        checkpoint_every=1e9,
    )
    return Recipe(**{**values, **changes})


class Runs(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = Path(cls.temporary.name)
        cls.base = cls.folder / "base"
        write_base(cls.base)
        cls.tokens = Tokens(cls.base)
        cls.source = translations()
        cls.mined = mine(cls.source, Bert.read(cls.base), cls.tokens, None, 12)

    def trainer(self, made: Recipe, name: str) -> Trainer:
        return Trainer(made, Bert.read(self.base), {"translations": prepare(self.mined, self.tokens, made)}, self.folder / name)

    def held_out(self, bert: Bert, pooling: torch.nn.Module) -> float:
        held = subset(self.source, 12, 60)
        return float(measure(bert, pooling, self.tokens, held, 12)["ndcg@10"].mean())

    def test_a_run_learns_what_its_data_teaches(self) -> None:
        before = self.held_out(Bert.read(self.base), Mean())
        stage = Stage(steps=100, sources=[Part("translations", 1.0)])
        trainer = self.trainer(recipe(stages=[stage], distillation=0.0), "learns")
        trainer.run()
        after = self.held_out(trainer.student.bert, trainer.student.pooling)
        # Held-out queries: new sentences, the same words.
        self.assertGreater(after, before + 0.2)
        log = (self.folder / "learns" / "log.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in log.splitlines()]
        self.assertEqual([line["step"] for line in lines], list(range(1, 101)))

    def test_every_pooling_trains(self) -> None:
        short = [Stage(steps=3, sources=[Part("translations", 1.0)])]
        for name in NAMES:
            with self.subTest(name):
                trainer = self.trainer(recipe(pooling=name, stages=short, latents=8), f"pooling-{name}")
                start = {k: v.clone() for k, v in trainer.student.pooling.state_dict().items()}
                trainer.run()
                moved = [k for k, v in trainer.student.pooling.state_dict().items() if not torch.equal(v, start[k])]
                self.assertEqual(bool(moved), bool(start))

    def test_the_embeddings_stay(self) -> None:
        trainer = self.trainer(recipe(stages=[Stage(steps=2, sources=[Part("translations", 1.0)])]), "stay")
        before = trainer.student.bert.embeddings.word_embeddings.weight.clone()
        trainer.run()
        self.assertTrue(torch.equal(before, trainer.student.bert.embeddings.word_embeddings.weight))
        self.assertTrue(all(name.startswith("encoder.") for name in trainer.student.bert.trained_state()))

    def test_a_stopped_run_goes_on_as_if_it_had_not_been(self) -> None:
        stages = [
            Stage(steps=6, sources=[Part("translations", 1.0)]),
            Stage(steps=4, in_batch=False, sources=[Part("translations", 1.0)]),
        ]
        whole = self.trainer(recipe(stages=stages), "whole")
        whole.run()
        first = self.trainer(recipe(stages=stages), "parts")
        for _ in range(4):
            first._step(stages[0], first._progress(stages[0]))
        (self.folder / "parts").mkdir()
        first._save(self.folder / "parts" / "checkpoint.pt")
        second = self.trainer(recipe(stages=stages), "parts")
        second.run()
        self.assertEqual(second.step, 10)
        for name, value in whole.student.bert.trained_state().items():
            torch.testing.assert_close(second.student.bert.trained_state()[name], value, rtol=1e-4, atol=1e-6)

    def test_seeds_repeat_and_differ(self) -> None:
        prepared = prepare(self.mined, self.tokens, recipe())
        draws = [draw(prepared, recipe(), np.random.default_rng([seed, 0])) for seed in (1, 1, 2)]
        self.assertEqual(draws[0].texts, draws[1].texts)
        self.assertNotEqual(draws[0].texts, draws[2].texts)

    def test_batches_keep_their_promises(self) -> None:
        prepared = prepare(self.mined, self.tokens, recipe())
        batch = draw(prepared, recipe(), np.random.default_rng(5))
        held = set(self.source.held_out)
        for i, query in enumerate(batch.queries):
            self.assertNotIn(query, held)
            self.assertIn(batch.texts[batch.gold[i]], self.source.relevant[query])
            self.assertFalse(batch.usable[i, batch.gold[i]])
            self.assertEqual(len(batch.hard[i]), 2)
            for row in batch.hard[i]:
                self.assertNotIn(batch.texts[row], self.source.relevant[query])

    def test_mined_negatives_score_below_the_bound(self) -> None:
        generator = np.random.default_rng(0)
        vectors = self.mined.text_vectors
        for query in self.source.training:
            answer = next(iter(self.source.relevant[query]))
            bound = 0.9 * float(vectors[answer] @ self.mined.query_vectors[query])
            candidates = self.mined.candidates[query]
            allowed = {int(c) for c in candidates if vectors[c] @ self.mined.query_vectors[query] <= bound}
            found = self.mined.negatives(query, answer, 2, 0.9, 10, generator)
            if len(allowed) >= 2:
                self.assertLessEqual(set(found), allowed)

    def test_frozen_layers_give_the_same_steps(self) -> None:
        stages = [Stage(steps=4, sources=[Part("translations", 1.0)])]
        for pooling in ("mean", "multi_layer"):
            made = recipe(first_layer=1, pooling=pooling, stages=stages, latents=8)
            plain = self.trainer(made, f"plain-{pooling}")
            start = plain.student.bert.trained_state()
            # As without frozen states, but the lower layers do not learn.
            plain.student.first = 0
            plain.run()
            cached = self.trainer(made, f"cached-{pooling}")
            prepared = cached.sources["translations"]
            for part in ("texts", "queries"):
                frozen = freeze(cached.student.bert, getattr(prepared, part), 1, self.folder / "states")
                setattr(prepared, f"frozen_{part}", frozen)
            cached.run()
            for name, value in plain.student.bert.trained_state().items():
                if name.endswith("key.bias"):
                    continue  # It moves every score of a row alike: its gradient is rounding.
                apart = (cached.student.bert.trained_state()[name] - value).norm()
                # States are kept in half precision, and Adam's first steps look at signs.
                self.assertLessEqual(float(apart), 0.1 * float((value - start[name]).norm()) + 1e-6, name)

    def test_padding_changes_no_vector(self) -> None:
        bert = Bert.read(self.base).eval()
        rows = self.tokens.ids([WORDS[0], " ".join(WORDS[:9]), " ".join(WORDS[5:25])], 40)
        together = encode(bert, Mean(), rows, budget=10_000)
        alone = np.concatenate([encode(bert, Mean(), [row]) for row in rows])
        np.testing.assert_allclose(together, alone, atol=1e-6)
        ids, mask = padded(rows)
        with torch.enable_grad():
            np.testing.assert_allclose(Mean()(bert(ids, mask), mask).detach(), alone, atol=1e-6)

    def test_mixing_weights(self) -> None:
        before, after = {"a": torch.zeros(2)}, {"a": torch.ones(2)}
        self.assertEqual(mixed(before, after, 0.25)["a"].tolist(), [0.25, 0.25])

    def test_kinds_are_pulled_together(self) -> None:
        together = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        apart = together[[0, 2, 1, 3]]
        kinds = ["a", "a", "b", "b"]
        self.assertLess(kinds_loss(together, kinds, 0.1).item(), kinds_loss(apart, kinds, 0.1).item())

    def test_a_misspelt_setting_is_refused(self) -> None:
        path = self.folder / "wrong.toml"
        path.write_text("learning_rat = 1\n", encoding="utf-8")
        with self.assertRaisesRegex(ValueError, "learning_rat"):
            Recipe.read(path)
        path.write_text('pooling = "mean"\n[[stages]]\nsteps = 1\nsources = [{ name = "x", share = 1.0 }]\n', encoding="utf-8")
        self.assertEqual(replace(Recipe.read(path, ["seed=4", "pooling=cls"])).pooling, "cls")


if __name__ == "__main__":
    unittest.main()
