"""From a run to files: the compact layers and the classifier as the repository keeps them, what the
model says of some pairs, manifest and card. training/README.md describes the files.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch
from safetensors.numpy import save

from encoders.export import BASE, FORMAT, HEAD, LAYERS, MANIFEST, ParityError, arrays, compact, expanded, pack, sha256
from encoders.model import Bert
from encoders.texts import Tokens

from .inputs import INPUT, Inputs, parts_of
from .model import Linker
from .schema import read_databases
from .trainer import Example, scores

REFERENCE = "reference.json"
#: A question beside a database, with the logits of its columns and tables: that the service writes
#: tables down as training does.
LINKED = "linked.json"
#: Most that the logistic function of a logit may differ by, on average over a pair's tokens: of layers
#: that are kept in int8, and of the service, which multiplies in int8 as well.
PARITY, SERVED_PARITY = 0.02, 0.08

#: Pairs as the linker reads them.
PROBES = [
    ("which singer is the oldest", "singer: singer id, name, country, song name, age, is male"),
    ("How many flights leave Fremont?", "airports: city, airport code, airport name, country, country abbrev"),
    ("a", "a: a"),
    ("What is the average salary of teachers in Berlin? | teachers refers to profession = 'teacher'", "staff: id, name, profession, salary, department id"),
    ("List all towns", "customers: nr, town, telephone, e mail"),
    ("Welche Kunden haben mehr als 10 Bestellungen?", "orders: order id, customer id, order date, total price"),
    ("total number of deaths per country in 2003 " * 6, "battle: id, name, date, bulgarian commander, latin commander, result"),
]  # fmt: skip


def said(model: Linker, base: Path) -> List[np.ndarray]:
    """Logits of each probe's tokens, [tokens, 2]."""
    tokens = Tokens(base)
    out = []
    with torch.no_grad():
        for question, table in PROBES:
            first, second = (tokens.ids([text], 512)[0].tolist() for text in (question, table))
            ids = [*first, *second[1:]]
            types = [0] * len(first) + [1] * (len(second) - 1)
            assert len(ids) <= INPUT and len(first) - 2 <= (INPUT - 3) // 2
            row = torch.tensor([ids])
            out.append(model.eval()(row, torch.tensor([types]), torch.ones_like(row))[0].numpy())
    return out


def check(found: List[np.ndarray], expected: List[np.ndarray]) -> float:
    """The largest mean difference of a pair; raises ParityError beyond PARITY."""
    apart = max(float(np.abs(_logistic(a) - _logistic(b)).mean()) for a, b in zip(found, expected))
    if not apart <= PARITY:
        raise ParityError(f"what is said of tokens differs by {apart:.4f} (at most {PARITY})")
    return apart


def _logistic(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def export(model: Linker, base: Path, out: Path, frozen: int = 0) -> float:
    """Writes layers, classifier, reference and manifest into `out`, and returns how far the compact
    layers are from the trained ones. The first `frozen` layers are the base's and are not written."""
    out.mkdir(parents=True, exist_ok=True)
    expected = said(model, base)
    known = sha256(base / "model.safetensors")
    trained = tuple(f"encoder.layer.{n}." for n in range(frozen, len(model.bert.layers)))
    weights = {name: value for name, value in arrays(model.bert).items() if name.startswith(trained)}
    compact(weights, out / LAYERS, known)
    head = {f"classifier.{name}": value.detach().float().numpy() for name, value in model.head.state_dict().items()}
    tensors = {name: np.ascontiguousarray(value) for name, value in head.items()}
    pack(save(tensors, metadata={"format": FORMAT, "base": BASE, "base_sha256": known}), out / HEAD)
    apart = check(said(restore(out, base), base), expected)
    content = {
        "queries": [question for question, _ in PROBES],
        "passages": [table for _, table in PROBES],
        "logits": [[[round(float(value), 4) for value in token] for token in row] for row in expected],
        "most": SERVED_PARITY,
    }
    (out / REFERENCE).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    write_linked(model, base, out)
    write_manifest(out)
    return apart


def restore(folder: Path, base: Path) -> Linker:
    """The model that the compact files of `folder` stand for."""
    model = Linker(Bert.read(base))
    head = {name.replace("classifier.", "head."): value for name, value in expanded(folder / HEAD).items()}
    stored = {**expanded(folder / LAYERS), **head}
    model.load_trained({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in stored.items()})
    return model


ASKED = "What are the names and home towns of singers older than 30? | older than 30 refers to age > 30"


def database() -> Dict[str, object]:
    """In the layout of Spider: names of every kind, and a table that is read in parts."""
    tables = {
        "singer": ["Singer_ID", "Name", "homeTown", "age", "Größe"],
        "tblConcert2": ["concert_ID", "Theme", "Year"],
        "measurements": [f"sensorReading{n}_avgValue" for n in range(40)],
    }
    names, readable = [[-1, "*"]], [[-1, "*"]]
    for place, columns in enumerate(tables.values()):
        for column in columns:
            names.append([place, column])
            readable.append([place, "town of birth" if column == "homeTown" else column.lower().replace("_", " ")])
    return {
        "db_id": "linked",
        "table_names_original": list(tables),
        "table_names": ["singer", "concert", "measurements"],
        "column_names_original": names,
        "column_names": readable,
        "column_types": ["text"] * len(names),
        "primary_keys": [1],
        "foreign_keys": [],
    }


def write_linked(model: Linker, base: Path, out: Path) -> None:
    known = database()
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "tables.json"
        file.write_text(json.dumps([known]), encoding="utf-8")
        read = read_databases(file)["linked"]
    inputs = Inputs(base)
    example = Example("linked", inputs.question(ASKED), set(), set())
    columns, tables = scores(model.eval(), inputs, example, parts_of(inputs, {"linked": read})["linked"])
    question, evidence = ASKED.split(" | ")
    content = {
        "question": question,
        "evidence": evidence,
        "database": known,
        "columns": {f"{table}.{column}": round(logit, 4) for (table, column), logit in columns.items()},
        "tables": {table: round(logit, 4) for table, logit in tables.items()},
    }
    (out / LINKED).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def write_manifest(out: Path) -> None:
    lines = [
        "# A cross-encoder that links questions to schemas; training/README.md describes the files.",
        f'name = "{out.name}"',
        f'format = "{FORMAT}"',
        'kind = "token-classifier"',
        f'base = "{BASE}"',
        f"max_tokens = {INPUT}",
        'licence = "Apache-2.0"',
        "",
        "[files]",
        *(f'"{file}" = "{sha256(out / file)}"' for file in (LAYERS, HEAD)),
    ]
    (out / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_card(run: Dict[str, object], held_out: Dict[str, float], apart: float, out: Path) -> None:
    """README.md, from the run's own figures."""
    recipe = run["recipe"]
    assert isinstance(recipe, dict)
    start = run.get("start")
    lines = [
        f"# {out.name}",
        "",
        "A cross-encoder that reads a question beside a table with its columns and says of each column",
        f"and of the table whether the question needs them: the layers of {BASE} trained further, with a",
        "classifier of two values for every token, in the form of BertForTokenClassification. Embeddings",
        "and the tokenizer are those of the base, unchanged and not stored here (training/README.md says",
        "how the files go together).",
        "",
        f"Base: sentence-transformers/{BASE}, Apache-2.0. These layers: Apache-2.0.",
        "",
        "## Using it",
        "",
        "An input is `[CLS] question | evidence [SEP] table : column , column [SEP]`, names in words, of",
        f"at most {INPUT} tokens. The first value of a token, averaged over a column's tokens, is the logit",
        "of that column; the second value of the first token that of the table. The service adds both to",
        "what words and vectors say (src/sql/link/combination-cross.json.gz).",
        "",
        "## Trained on",
        "",
        "The training questions of Spider (Apache-2.0), Spider-Syn (the same questions with synonyms, MIT)",
        "and BIRD (no licence stated): the tables and columns that their SQL uses (sqlglot). Questions",
        "about a fifth of the databases, by the hash of the name, trained nothing"
        + (";" if recipe["without"] < 0 else ", and about half of the"),
        *([] if recipe["without"] < 0 else ["others neither: the combination learns from what is said of them;"]),
        f"seed {recipe['seed']}, {run['steps']} steps of {recipe['parts']} tables: those that a question needs and {recipe['others']} others;",
        f"{float(str(run['seconds'])) / 60:.0f} minutes of {recipe['threads']} threads{f', going on from a run ({start}) on half of the databases' if start else ''}.",
        "",
        "## On questions about held-out databases",
        "",
        f"{held_out['questions']:.0f} questions: of the columns that are needed {held_out['recall@10']:.1%} are among the first ten;",
        f"keeping all that one question in ten must do without takes {held_out['columns_at_0.9']:.1f} columns, one in twenty",
        f"{held_out['columns_at_0.95']:.1f}, by one threshold for all questions.",
        "",
        "## Parity",
        "",
        f"Layers are kept in int8, a scale a row: {apart:.5f} from the trained ones, in the logistic function of",
        f"a token's logits. `reference.json` has what the trained ones say; the service may be {SERVED_PARITY:g} off.",
        "",
    ]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")
