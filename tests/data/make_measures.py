"""Writes measures.json: random runs and judgments with the values trec_eval gives them.

    pip install pytrec_eval-terrier==0.5.11
    python tests/data/make_measures.py

The runs have graded, negative and missing judgments, tied scores, rankings shorter and
longer than the cutoffs, judged queries without a ranking and ranked queries without
judgments. trec_eval has no cutoff for the reciprocal rank: MRR@k is recip_rank of the
ranking cut at k.
"""

import json
import pathlib
import random

import pytrec_eval

MEASURES = {
    "ndcg@1": "ndcg_cut_1",
    "ndcg@10": "ndcg_cut_10",
    "ndcg@100": "ndcg_cut_100",
    "recall@5": "recall_5",
    "recall@100": "recall_100",
    "precision@1": "P_1",
    "precision@10": "P_10",
    "map@10": "map_cut_10",
    "map@100": "map_cut_100",
}
CUTS = {"mrr@1": 1, "mrr@10": 10}


def ranked(hits):
    """trec_eval's order: falling score, ties by falling document id."""
    return sorted(hits, key=lambda d: (hits[d], d), reverse=True)


def main():
    rng = random.Random(20240501)
    documents = [f"d{i}" for i in range(60)]
    qrels, run = {}, {}
    for i in range(24):
        query = f"q{i}"
        if i % 8 != 7:  # every eighth query has no judgments
            judged = rng.sample(documents, rng.choice([1, 3, 12, 40]))
            grades = [0] if i % 12 == 5 else [-1, 0, 0, 1, 1, 2, 3]
            qrels[query] = {d: rng.choice(grades) for d in judged}
        if i % 6 != 4:  # every sixth has no ranking
            hits = rng.sample(documents, rng.choice([1, 7, 30, 60]))
            judged = qrels.get(query, {})
            run[query] = {d: (rng.randrange(16) + 2 * judged.get(d, 0)) / 4 for d in hits}

    names = set(MEASURES.values())
    full = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)
    cut = {
        name: pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(
            {q: {d: hits[d] for d in ranked(hits)[:k]} for q, hits in run.items()}
        )
        for name, k in CUTS.items()
    }
    expected = {}
    for query, judged in qrels.items():
        if not any(grade > 0 for grade in judged.values()):
            # trec_eval gives 0 for these; ours leaves them out.
            assert all(v == 0 for v in full.get(query, {}).values())
            continue
        values = {name: full.get(query, {}).get(theirs, 0.0) for name, theirs in MEASURES.items()}
        for name in CUTS:
            values[name] = cut[name].get(query, {}).get("recip_rank", 0.0)
        expected[query] = values
    means = {
        name: sum(values[name] for values in expected.values()) / len(expected)
        for name in [*MEASURES, *CUTS]
    }
    path = pathlib.Path(__file__).with_name("measures.json")
    data = {"qrels": qrels, "run": run, "queries": expected, "means": means}
    lines = ",\n".join(
        f"{json.dumps(key)}: {{\n"
        + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
        + "\n}"
        for key, value in data.items()
    )
    path.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
