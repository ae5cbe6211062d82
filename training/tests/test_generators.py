"""The generator: what it is fed, what it is trained on, that it learns, and what is kept of it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from encoders.texts import padded
from generators.data import Collected, Mention, Names, collect, held_out, made, mistyped, plain, shortened
from generators.export import export, restore, written
from generators.inputs import HEAD, INPUT, MARKS, Inputs
from generators.measure import Asked, fit, right
from generators.model import Generator
from generators.synthetic import Maker
from generators.trainer import Drawn, Recipe, Trainer, log_probabilities

from . import support
from .support import WORDS

#: Words of the tiny tokenizer in the place of tokens that a published one has.
SPARE = {"w117": "[MASK]", "w118": "[unused0]", "w119": "[unused1]"}


def base_with_spares(folder: Path) -> Path:
    with mock.patch.object(support, "SHAPE", dataclasses.replace(support.SHAPE, positions=128)):
        support.write_base(folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    for word, token in SPARE.items():
        vocabulary[token] = vocabulary.pop(word)
    path.write_text(json.dumps(content))
    return folder


class Tiny(unittest.TestCase):
    def setUp(self) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.folder = Path(self.place.name)
        self.base = base_with_spares(self.folder / "base")
        self.inputs = Inputs(self.base)

    def model(self) -> Generator:
        return Generator.start(self.base, self.inputs, layers=1, frozen=1)


def mention(text: str, word: str, name: str, others: "list[str] | None" = None) -> Mention:
    start = text.index(word)
    return Mention(text, start, start + len(word), name, "document", others or [])


class Feeding(Tiny):
    def test_a_window(self):
        ids = self.inputs.mentions([mention("w1 w2 w3", "w2", "w2")])[0].tolist()
        word = {w: i + 4 for i, w in enumerate(WORDS)}
        marks = [self.inputs.opening, self.inputs.closing]
        self.assertEqual(marks, [word["w118"], word["w119"]])
        self.assertEqual(ids, [2, word["w1"], marks[0], word["w2"], marks[1], word["w3"], 3])

    def test_a_long_text_keeps_its_beginning(self):
        before = " ".join(f"w{i % 90}" for i in range(200)) + " "
        text = before + "w95 " + " ".join(["w96"] * 200)
        ids = self.inputs.mentions([mention(text, "w95", "w95")])[0].tolist()
        self.assertEqual(len(ids), INPUT)
        self.assertEqual(ids[1 : HEAD + 1], [4 + i for i in range(HEAD)])
        self.assertEqual(ids[HEAD + 1], self.inputs.end)
        place = ids.index(self.inputs.opening)
        self.assertEqual(ids[place - 1], 4 + 199 % 90)

    def test_names_end(self):
        given, wanted = self.inputs.batch_names([self.inputs.names(["w1 w2", "w3"])])
        self.assertEqual(given[0].tolist(), [[2, 5, 6], [2, 7, 0]])
        self.assertEqual(wanted[0].tolist(), [[5, 6, 3], [7, 3, -1]])


class Writing(Tiny):
    def test_what_may_come_next_sums_to_one(self):
        model = self.model().eval()
        ids, mask = padded(self.inputs.mentions([mention("w1 w2 w3", "w2", "w2")]))
        vocabulary = model.bert.shape.vocabulary
        given = torch.full((1, vocabulary, 1), self.inputs.begin)
        wanted = torch.arange(vocabulary).view(1, vocabulary, 1)
        with torch.no_grad():
            self.assertAlmostEqual(float(model(ids, mask, given, wanted).exp().sum()), 1.0, places=4)

    def test_some_words_stand_for_all(self):
        model = self.model().eval()
        ids, mask = padded(self.inputs.mentions([mention("w1 w2 w3", "w2", "w2")]))
        given, wanted = self.inputs.batch_names([self.inputs.names(["w2 w3"])])
        torch.manual_seed(1)
        with torch.no_grad():
            exact = float(model(ids, mask, given, wanted).sum())
            sampled = float(model(ids, mask, given, wanted, sampled=20000).sum())
        self.assertAlmostEqual(exact, sampled, places=1)

    def test_others_of_the_batch_change_nothing(self):
        model = self.model()
        rows = [(mention("w1 w2 w3", "w2", ""), ["w2", "w2 w6", "w2 w6 w7", "w5 w6"]), (mention("w7 w8 " * 9 + "w9", "w9", ""), ["w1 w2 w3 w4"])]
        together = log_probabilities(model, self.inputs, rows)
        for row, found in zip(rows, together):
            alone = log_probabilities(model, self.inputs, [row])[0]
            np.testing.assert_allclose(found, alone, atol=1e-4)
            ids, mask = padded(self.inputs.mentions([row[0]]))
            with torch.no_grad():
                forced = model(ids, mask, *self.inputs.batch_names([self.inputs.names(row[1])])).sum(2)[0]
            np.testing.assert_allclose(found, forced.numpy(), atol=1e-4)

    def test_the_mentions_place_counts(self):
        model = self.model()
        rows = [(mention("w1 w2 w3", word, ""), ["w2"]) for word in ("w1", "w3")]
        first, second = log_probabilities(model, self.inputs, rows)
        self.assertGreater(abs(float(first[0] - second[0])), 1e-4)


class Learning(Tiny):
    def examples(self, random: np.random.Generator, many: int) -> "list[Mention]":
        """What a word means depends on whether w100 or w101 stands behind it."""
        found = []
        for _ in range(many):
            word, sort = f"w{random.integers(6)}", random.integers(2)
            filler = " ".join(f"w{50 + random.integers(9)}" for _ in range(3))
            names = [f"{word} w{80 + kind}" for kind in (0, 1)]
            text = f"{filler} {word} w{100 + sort} {filler}"
            start = len(filler) + 1
            found.append(Mention(text, start, start + len(word), names[sort], "document", [names[1 - sort], word]))
        return found

    def test_the_context_decides(self):
        torch.set_num_threads(1)
        random = np.random.default_rng(3)
        recipe = Recipe(
            layers=1, frozen=1, mentions=16, others=2, steps=250, learning_rate=3e-3, encoder_learning_rate=3e-3,
            sampled=0, hidden=0.0, kinds={"document": 1.0}, threads=1, bf16=False,
        )  # fmt: skip
        model = self.model()
        collected = Collected({"document": self.examples(random, 600)}, [])
        Trainer(recipe, model, Drawn(recipe, self.inputs, collected)).run(self.folder)
        asked = self.examples(random, 100)
        scores = log_probabilities(model, self.inputs, [(m, [m.name, *m.others]) for m in asked])
        self.assertGreater(np.mean([row.argmax() == 0 for row in scores]), 0.9)

        # What is kept says the same, or nearly.
        run = {"recipe": {**vars(recipe), "layers": 1, "frozen": 1}, "mentions": {"document": 600}}
        held = {"mentions": 10, "prior": {"accuracy": 0.5, "weights": {}}}
        model.eval()
        apart = export(model, self.inputs, self.base, run, held, self.folder / "kept")
        kept = restore(self.folder / "kept", self.inputs, self.base, 1, 1)
        self.assertLess(apart, 0.08)
        reference = json.loads((self.folder / "kept" / "reference.json").read_text())
        for row, expected in zip(written(kept, self.inputs), reference["log_probabilities"]):
            np.testing.assert_allclose(row, expected, atol=1e-3)
        self.assertIn("| prior | 50.0% |", (self.folder / "kept" / "README.md").read_text())
        self.assertIn(MARKS["[END_ENT]"], (self.folder / "kept" / "trained.toml").read_text())


class Material(unittest.TestCase):
    def write(self, data: Path) -> None:
        entities = data / "entities"
        (entities / "linking").mkdir(parents=True)

        def zipped(name: str, text: str) -> None:
            with gzip.open(entities / name, "wt", encoding="utf-8") as file:
                file.write(text)

        zipped("titles.txt.gz", "red_river\nriver\nold_town\nred_hat\nriver_city\n")
        zipped("aliases.tsv.gz", "rio_rojo\tred_river\n")
        tokens = ["The", "Red", "River", "passes", "Old", "Town", "."]
        row = {"tokens": tokens, "h": ["red river", "Q1", [[1, 2]]], "t": ["old town", "Q2", [[4, 5]]]}
        zipped("fewrel_mentions.json.gz", json.dumps({"P1": [row]}))
        for name in ("wiki-fair-v2-dev", "news-fair-v2-dev", "oke-2015-train", "oke-2016-train"):
            lines = []
            for i in range(20):
                text = f"Rio Rojo, text {i}, of Red Hat."
                labels = [
                    {"span": [0, 8], "entity_id": "Q1", "name": "Rio Rojo"},
                    {"span": [0, 3], "entity_id": "<NIL>", "name": "Unknown"},
                    {"span": [10, 14], "entity_id": "QUANTITY", "name": "Unknown"},
                    {"span": [0, 3], "entity_id": "Q1", "name": "Rio Rojo", "coref": True},
                ]
                lines.append(json.dumps({"text": text, "labels": labels}))
            (entities / "linking" / f"{name}.jsonl").write_text("\n".join(lines))

    def test_what_is_collected(self):
        with tempfile.TemporaryDirectory() as place:
            self.write(Path(place))
            found = collect(Path(place), 1, 10, 20, Path(place) / "kept.pkl")
            again = collect(Path(place), 1, 10, 20, Path(place) / "kept.pkl")
        self.assertEqual(found, again)
        documents = [m for m in found.training["document"]]
        self.assertEqual({(m.words, m.name) for m in documents}, {("Rio Rojo", "red river")})
        every = [m for rows in found.training.values() for m in rows if m.kind in ("document", "sentence", "unmarked")]
        self.assertFalse(any(held_out(m.text) for m in every))
        self.assertTrue(found.held_out and all(held_out(m.text) for m in found.held_out))
        # Twenty documents, each in four collections, of which a fifth or so is held out.
        self.assertEqual(len(documents) + sum(m.kind == "document" for m in found.held_out), 80)
        for one in [*documents, *found.training["shortened"]]:
            self.assertNotIn(one.name, one.others)
        self.assertIn("rio rojo", {o for m in documents for o in m.others} | {"rio rojo"})
        self.assertEqual(len(found.training["made"]), 20)

    def test_a_name_by_a_part_or_an_alias(self):
        with tempfile.TemporaryDirectory() as place:
            self.write(Path(place))
            names = Names(Path(place))
        one = Mention("On the Red River they met.", 7, 16, "red river", "sentence")
        random = np.random.default_rng(0)
        called = set()
        for _ in range(60):
            short = shortened(one, names, random)
            assert short is not None
            self.assertEqual(short.text, f"On the {short.words} they met.")
            self.assertEqual(short.name, "red river")
            called.add(short.words)
        self.assertLessEqual({"Red", "River", "Rio Rojo"}, called)

    def test_mistyped(self):
        random = np.random.default_rng(0)
        for _ in range(50):
            self.assertLessEqual(abs(len(mistyped("london", random)) - 6), 1)
        self.assertEqual(mistyped("oslo", random), "oslo")

    def test_made_texts(self):
        maker = Maker(np.random.default_rng(0))
        for _, kind in maker.kinds:
            for _ in range(60):
                one = kind()
                self.assertTrue(one.text[one.start : one.end].strip(), one)
                self.assertNotRegex(one.text, r"[{}]", one)
                self.assertTrue(plain(one.name))
                self.assertNotIn(one.name, one.others, one)
        for one in made(50, np.random.default_rng(1)):
            self.assertEqual(one.name, plain(one.name))
            self.assertTrue(one.words.strip())


class Measuring(unittest.TestCase):
    def test_weights_find_what_tells(self):
        random = np.random.default_rng(0)
        rows, found = [], []
        for i in range(60):
            which = int(random.integers(3))
            generated = random.normal(size=3)
            generated[which] += 3.0
            rows.append(Asked(Mention("x", 0, 1, "a", "t"), ["a", "b", "c"], np.ones(3) / 3, which))
            found.append({"prior": random.normal(size=3), "similarity": np.zeros(3), "generator": generated})
        weights = fit(rows, found, ("prior", "generator"))
        self.assertGreater(weights["generator"], 5 * abs(weights["prior"]))
        self.assertGreater(right(rows, found, weights), 50)


if __name__ == "__main__":
    unittest.main()
