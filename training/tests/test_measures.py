"""Measures and tests of significance on cases worked out by hand; readers on small files."""

from __future__ import annotations

import json
import math
import tempfile
import unittest
from pathlib import Path

import numpy as np

from encoders.data import Source, is_held_out, joined, read_beir
from encoders.evaluate import subset
from encoders.lexical import Bm25
from encoders.run import best
from encoders.significance import measures, ndcg, paired, rankings, recall


class Measures(unittest.TestCase):
    def test_ndcg_with_grades(self) -> None:
        relevant = {7: 2.0, 9: 1.0, 4: 1.0}
        found = ndcg([9, 1, 7], relevant)
        best_possible = 2 + 1 / math.log2(3) + 1 / math.log2(4)
        self.assertAlmostEqual(found, (1 + 2 / math.log2(4)) / best_possible)

    def test_what_lies_deeper_than_ten_does_not_count(self) -> None:
        self.assertEqual(ndcg(list(range(11)), {10: 1.0}), 0.0)

    def test_recall(self) -> None:
        self.assertEqual(recall([1, 2, 3], {2: 1.0, 9: 1.0}), 0.5)

    def test_rankings_break_ties_by_position(self) -> None:
        documents = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
        self.assertEqual(rankings(np.array([[1.0, 0.0]], dtype=np.float32), documents).tolist(), [[1, 2, 0]])

    def test_perfect_vectors(self) -> None:
        eye = np.eye(5, dtype=np.float32)
        found = measures(eye, eye, [{i: 1.0} for i in range(5)])
        self.assertEqual(found["ndcg@10"].tolist(), [1.0] * 5)

    def test_the_paired_test(self) -> None:
        generator = np.random.default_rng(1)
        a = generator.normal(size=200)
        self.assertEqual(paired(a, a), 1.0)
        self.assertLess(paired(a + 0.3 + generator.normal(size=200) * 0.5, a), 0.001)
        self.assertGreater(paired(a + generator.normal(size=200) * 0.5, a), 0.01)

    def test_exact_p_of_few_queries(self) -> None:
        # All eight signs are equally likely; two of them are as extreme.
        self.assertAlmostEqual(paired(np.array([1.0, 1.0, 1.0]), np.zeros(3)), 0.25, delta=0.02)


class Readers(unittest.TestCase):
    def test_a_fifth_is_held_out_and_always_the_same(self) -> None:
        held = [i for i in range(5000) if is_held_out("x", str(i))]
        self.assertAlmostEqual(len(held) / 5000, 0.2, delta=0.02)
        self.assertEqual(held, [i for i in range(5000) if is_held_out("x", str(i))])
        self.assertNotEqual(held, [i for i in range(5000) if is_held_out("y", str(i))])

    def test_documents_are_joined_as_the_service_does(self) -> None:
        self.assertEqual(joined("A title", "a text"), "A title\na text")
        self.assertEqual(joined("", "a text"), "a text")

    def test_beir(self) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "qrels").mkdir()
            (folder / "corpus.jsonl").write_text(
                "".join(json.dumps({"_id": f"d{i}", "title": "", "text": f"t{i}"}) + "\n" for i in range(3))
            )
            (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "what"}) + "\n")
            (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td2\t2\nq\td1\t0\n")
            documents, ids, queries, relevant = read_beir(folder, "test")
        self.assertEqual((documents[2], ids, queries, relevant), (("", "t2"), ["q"], ["what"], [{2: 2.0}]))

    def test_held_out_queries_keep_their_answers(self) -> None:
        source = Source("s", [f"t{i}" for i in range(50)], [f"q{i}" for i in range(10)], [{3 * i: 1.0} for i in range(10)], [1, 4, 7])
        held = subset(source, 2, 20)
        self.assertEqual((len(held.queries), len(held.texts)), (2, 20))
        for query, judged in zip(held.queries, held.relevant):
            number = int(query[1:])
            self.assertIn(number, (1, 4, 7))
            self.assertEqual([held.texts[t] for t in judged], [f"t{3 * number}"])

    def test_bm25_by_hand(self) -> None:
        found = Bm25(["cats run", "dogs", "dogs run run"]).scores(["run cat"])[0]
        idf_run, idf_cat = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)

        def part(count: int, length: int) -> float:
            return count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 2))

        np.testing.assert_allclose(found, [idf_run * part(1, 2) + idf_cat * part(1, 2), 0, idf_run * part(2, 3)], rtol=1e-5)

    def test_the_mix_may_not_hurt_what_was_never_touched(self) -> None:
        def row(scifact: float, untouched: float) -> dict:
            return {"scifact": {"ndcg@10": scifact}, "graph-docstrings": {"ndcg@10": untouched}}

        self.assertEqual(best({"0.0": row(0.6, 0.6), "0.5": row(0.65, 0.61), "1.0": row(0.8, 0.59)}), 0.5)
        # Either kind counts half, however many sources it has.
        more = {"medquad": {"ndcg@10": 0.9}, "nfcorpus": {"ndcg@10": 0.4}}
        rows = {"0.0": row(0.6, 0.6), "0.5": row(0.65, 0.66), "1.0": row(0.71, 0.62)}
        self.assertEqual(best({share: {**values, **more} for share, values in rows.items()}), 0.5)


if __name__ == "__main__":
    unittest.main()
