"""The weight against the service's own first stage, which is stronger than the one of training.

`write` makes collections of the held-out queries; `gleaner eval retrieval --split held --modes hybrid,rerank
--rerank-weight 1 --run-dir DIR/NAME` over each leaves what the service found and what the re-ranker says of it;
`weigh` mixes the two with every weight, as the service does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
from numpy.typing import NDArray

from encoders.data import Source, read

from .measures import blended, means, measures
from .run import RUN, VALIDATION, WEIGHTS, read_run, value, write_run

#: Candidates of a query that are re-ranked.
DEPTH = 100
#: Sources whose texts begin with a title.
TITLED = ("scifact", "nfcorpus")


def queries_of(source: Source) -> List[int]:
    most = min(len(source.held_out), VALIDATION[source.name])
    return [source.held_out[i] for i in np.linspace(0, len(source.held_out) - 1, most).astype(int)]


def write(data: Path, limits: Dict[str, int], to: Path) -> None:
    """A folder in the BEIR layout for each source of VALIDATION, its judgments in `qrels/held.tsv`."""
    for name in VALIDATION:
        source = read(data, name, limits.get(name) or None)
        folder = to / name
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        with (folder / "corpus.jsonl").open("w", encoding="utf-8") as lines:
            for number, text in enumerate(source.texts):
                title, _, rest = text.partition("\n") if name in TITLED else ("", "", text)
                lines.write(json.dumps({"_id": f"d{number}", "title": title, "text": rest}) + "\n")
        judged = ["query-id\tcorpus-id\tscore"]
        with (folder / "queries.jsonl").open("w", encoding="utf-8") as lines:
            for query in queries_of(source):
                lines.write(json.dumps({"_id": f"q{query}", "text": source.queries[query]}) + "\n")
                judged += [f"q{query}\td{document}\t{int(grade)}" for document, grade in source.relevant[query].items()]
        (folder / "qrels" / "held.tsv").write_text("\n".join(judged) + "\n", encoding="utf-8")
        print(f"{folder}: {len(source.texts)} texts, {len(judged) - 1} judgments")


def run_of(path: Path) -> Dict[str, List[Tuple[str, float]]]:
    """The hits of each query, the best first."""
    found: Dict[str, List[Tuple[str, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query, _, document, _, score, _ = line.split()
        found.setdefault(query, []).append((document, float(score)))
    return found


class Served:
    """What the service found for the queries of a source, and what the re-ranker says of it."""

    def __init__(self, collection: Path, runs: Path) -> None:
        hybrid, reranked = run_of(runs / "hybrid.trec"), run_of(runs / "rerank.trec")
        judged: Dict[str, Dict[int, float]] = {query: {} for query in hybrid}
        for line in (collection / "qrels" / "held.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            query, document, grade = line.split("\t")
            judged.setdefault(query, {})[int(document[1:])] = float(grade)
        names = sorted(hybrid)
        self.relevant = [judged[name] for name in names]
        self.lists = np.full((len(names), DEPTH), -1, dtype=np.int32)
        self.first = np.zeros((len(names), DEPTH), dtype=np.float32)
        self.second = np.zeros((len(names), DEPTH))
        for row, name in enumerate(names):
            said = dict(reranked.get(name, []))
            hits = [hit for hit in hybrid[name] if hit[0] in said][:DEPTH]
            for place, (document, score) in enumerate(hits):
                self.lists[row, place] = int(document[1:])
                self.first[row, place], self.second[row, place] = score, said[document]

    def measure(self, weight: float) -> Dict[str, float]:
        scores: NDArray = blended(self.lists, self.first, self.second, weight)
        return means(measures(self.lists, scores, self.relevant))


def weigh(out: Path, collections: Path, runs: Path) -> Dict[str, object]:
    """Adds the weight that does best to `run.json`, as `choose` counts: where the runs of a source are
    missing, it has no say."""
    read_run(out)
    found = {
        name: Served(collections / name, runs / name) for name in VALIDATION if (runs / name / "rerank.trec").is_file()
    }
    if not found:
        raise ValueError(f"{runs} holds no runs: see the top of rerankers/served.py")
    rows = []
    for weight in (0.0, *WEIGHTS[1:]):
        each = {name: one.measure(weight) for name, one in found.items()}
        rows.append({"weight": weight, "means": each, "value": value(each)})
    best = max(rows, key=lambda row: row["value"])
    served = {"weight": best["weight"], "queries": {name: len(one.lists) for name, one in found.items()}, "rows": rows}
    write_run(out, {"served": served})
    print(f"{out / RUN}: weight {best['weight']}; " + "; ".join(f"{row['weight']}: {row['value']}" for row in rows))
    return served
