"""What the evaluation of linking holds out, and the tables that it writes."""

from __future__ import annotations

import gzip
import json
import tempfile
import unittest
from pathlib import Path

import eval_entities as entities


class HeldOut(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def documents(self, name: str, texts: list) -> Path:
        file = self.folder / name
        lines = [json.dumps({"text": text, "labels": []}) for text in texts]
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return file

    def test_a_fifth_is_held_out_by_text_and_each_once(self) -> None:
        texts = [f"text {number} é" for number in range(1000)]
        first, second = self.documents("a.jsonl", texts[:600]), self.documents("b.jsonl", texts[400:])
        out = self.folder / "out.jsonl"
        count = entities.held_out([first, second], out)
        kept = [json.loads(line)["text"] for line in out.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(count, len(kept))
        self.assertEqual(kept, [text for text in texts if entities.is_held_out(text)])
        self.assertTrue(150 < count < 250, count)

    def test_mentions_without_candidates_are_left_out(self) -> None:
        documents = self.folder / "documents.jsonl"
        labels = [{"span": [0, 5]}, {"span": [9, 13]}]
        documents.write_text(json.dumps({"text": "Paris or Rome", "labels": labels}) + "\n", encoding="utf-8")
        candidates = self.folder / "candidates.tsv.gz"
        with gzip.open(candidates, "wt", encoding="utf-8") as file:
            file.write("Rome\tRome\t9\nOslo\tOslo\t1\n")
        out = self.folder / "out.jsonl"
        entities.covered(documents, candidates, out)
        self.assertEqual(json.loads(out.read_text(encoding="utf-8"))["labels"], labels[1:])


class Tables(unittest.TestCase):
    def test_every_way_has_a_row(self) -> None:
        calibration = {"ece": 0.0512, "bins": [{"answers": 4, "share": 0.55, "right": 0.5}]}
        marked = {"accuracy": 0.5, "micro_f1": 0.25, "nil_f1": 0.125, "calibration": calibration}
        linked = {"precision": 0.5, "recall": 0.25, "f1": 0.333, "calibration": calibration}
        methods = {way: marked for way in entities.NAMES}
        report = {"mentions": 7, "ceiling": 0.9, "methods": methods}
        linking = {"found": 0.6, "ceiling": 0.5, "methods": {way: linked for way in entities.NAMES}}
        found = {"given": {"one": report}, "open": {"two": {**report, "linking": linking}}}
        text = entities.tables(found)
        self.assertIn("| prior and generator | 50.0 | 25.0 | 12.5 | 0.051 |", text)
        self.assertIn("| all | 50.0 | 25.0 | 33.3 | 0.051 |", text)
        self.assertEqual(text.count("| most popular |"), 3)
        for line in text.splitlines():
            self.assertTrue(len(line) < 200 and "nan" not in line, line)


if __name__ == "__main__":
    unittest.main()
