"""From a run to files: the compact layers as the repository keeps them, what the model writes for some
mentions, manifest and card. training/README.md describes the files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch

from encoders.export import BASE, FORMAT, HEAD, LAYERS, MANIFEST, ParityError, compact, expanded, sha256

from .data import Mention
from .inputs import HEAD as BEGINNING
from .inputs import INPUT, MARKS, Inputs
from .model import Generator
from .trainer import log_probabilities

REFERENCE = "reference.json"
#: Most that the share of a name among a probe's may differ by, of layers that are kept in int8; and that
#: the logarithm of a probability may, in the service, against these layers.
PARITY, SERVED_PARITY = 0.08, 0.005

#: Mentions between what stands on both sides, with names.
PROBES = [
    ("He was born in ", "Paris", " and studied medicine there.", ["paris", "paris hilton", "paris saint-germain f.c.", "france"]),
    ("", "Leeds", " beat Arsenal 2-1 on Saturday .", ["leeds united f.c.", "leeds", "university of leeds"]),
    ("The ", "British", " government said on Monday that it would not sign.", ["united kingdom", "british people", "england"]),
    ("Der Zug fuhr nach ", "Köln", "", ["cologne", "1. fc köln"]),
    ("A long story about rivers and bridges. " * 30, "Rhine", " rises in the Alps. " * 20, ["rhine", "rhine river", "upper rhine"]),
    ("a", "b", "c", ["b"]),
    ("中文 ", "北京", " text", ["beijing", "peking university"]),
]  # fmt: skip


def written(model: Generator, inputs: Inputs) -> List[np.ndarray]:
    rows = [(Mention(b + m + a, len(b), len(b) + len(m), names[0], "probe"), names) for b, m, a, names in PROBES]
    # Each alone, as the service reads them.
    return [log_probabilities(model, inputs, [row])[0] for row in rows]


def export(model: Generator, inputs: Inputs, base: Path, run: Dict[str, object], held: Dict[str, object], out: Path) -> float:
    """Writes everything into `out`, and returns how far the compact layers are from the trained ones."""
    out.mkdir(parents=True, exist_ok=True)
    expected = written(model, inputs)
    known = sha256(base / "model.safetensors")
    state = {name: value.float().numpy() for name, value in model.trained_state().items()}
    compact({k: v for k, v in state.items() if k.startswith("encoder.")}, out / LAYERS, known)
    compact({k: v for k, v in state.items() if not k.startswith("encoder.")}, out / HEAD, known)
    kept = restore(out, inputs, base, len(model.decoder), model.frozen)
    found = written(kept, inputs)
    apart = max(float(np.abs(_shares(a) - _shares(b)).max()) for a, b in zip(found, expected))
    if not apart <= PARITY:
        raise ParityError(f"shares of names differ by {apart:.4f} (at most {PARITY})")
    content = {
        "before": [b for b, _, _, _ in PROBES],
        "mentions": [m for _, m, _, _ in PROBES],
        "after": [a for _, _, a, _ in PROBES],
        "names": [names for _, _, _, names in PROBES],
        "log_probabilities": [[round(float(v), 4) for v in row] for row in found],
        "most": SERVED_PARITY,
    }
    (out / REFERENCE).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    write_manifest(out, len(model.decoder), model.frozen)
    if held:
        write_card(run, held, apart, out)
    return apart


def _shares(logarithms: np.ndarray) -> np.ndarray:
    values = np.exp(logarithms - logarithms.max())
    return values / values.sum()


def restore(folder: Path, inputs: Inputs, base: Path, layers: int, frozen: int) -> Generator:
    """The model that the compact files of `folder` stand for."""
    model = Generator.start(base, inputs, layers, frozen)
    stored = {**expanded(folder / LAYERS), **expanded(folder / HEAD)}
    model.load_trained({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in stored.items()})
    return model.eval()


def write_manifest(out: Path, layers: int, frozen: int) -> None:
    (opening, first), (closing, second) = MARKS.items()
    lines = [
        "# An encoder-decoder that writes the names of entities; training/README.md describes the files.",
        f'name = "{out.name}"',
        f'format = "{FORMAT}"',
        'kind = "generator"',
        f'base = "{BASE}"',
        f"max_tokens = {INPUT}",
        'licence = "Apache-2.0"',
        "",
        "[generator]",
        f"layers = {layers}",
        f"marked = {frozen}",
        'begin = "[CLS]"',
        'end = "[SEP]"',
        f'opening = ["{opening}", "{first}"]',
        f'closing = ["{closing}", "{second}"]',
        f"beginning = {BEGINNING}",
        "",
        "[files]",
        *(f'"{file}" = "{sha256(out / file)}"' for file in (LAYERS, HEAD)),
    ]
    (out / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_card(run: Dict[str, object], held: Dict[str, object], apart: float, out: Path) -> None:
    """README.md, from the run's own figures."""
    recipe, counts = run["recipe"], run["mentions"]
    assert isinstance(recipe, dict) and isinstance(counts, dict)
    rows = [(way, figures["accuracy"]) for way, figures in held.items() if isinstance(figures, dict) and "accuracy" in figures]
    evaluated = next(((name, f) for name, f in held.items() if isinstance(f, dict) and "among candidates" in f), None)
    lines = [
        f"# {out.name}",
        "",
        "An encoder-decoder that writes the name of the entity that a mention means, token by token. It",
        f"stands on {BASE}: its embeddings, its tokenizer and its first {recipe['frozen']} layers are that model's,",
        "unchanged and not stored here; the layers above and a decoder of",
        f"{recipe['layers']} layers were trained. training/README.md says how the files go together.",
        "",
        f"Base: sentence-transformers/{BASE}, Apache-2.0. These layers: Apache-2.0.",
        "",
        "## Using it",
        "",
        f"An input is `left [START_ENT] mention [END_ENT] right`, of at most {INPUT} tokens; where what is to the",
        f"left does not fit, its first {BEGINNING} tokens stay. An answer is a name in lower case and words. The service",
        "takes the logarithm of each candidate's share, beside the prior and the similarity, or writes names",
        "under the constraint of a catalog (docs/entities.md).",
        "",
        "## Trained on",
        "",
        "- marked mentions: wiki-fair-v2, news-fair-v2 (development parts) and OKE 2015 and 2016 (training parts),",
        f"  {counts.get('document', 0):,} of them (Apache-2.0, the collection), and of FewRel's validation sentences",
        f"  {counts.get('sentence', 0):,} (MIT); a fifth of the documents, by a hash of the text, is held out;",
        f"- {counts.get('shortened', 0):,} names in these texts, shortened to a part or replaced by an alias (DBpedia, CC BY-SA);",
        f"- {counts.get('alias', 0):,} aliases in texts that have nothing to do with them;",
        f"- {counts.get('made', 0):,} texts made of templates in the manner of news agencies' reports on sport and",
        "  politics, out of general knowledge (`training/generators/synthetic.py`).",
        "",
        "Two losses: of writing the right name, and of telling it from names that share the alias or words.",
        f"Seed {recipe['seed']}; {run.get('steps', 0)} steps of {recipe['mentions']} mentions, {float(str(run.get('seconds', 0))) / 60:.0f} minutes of",
        f"{recipe['threads']} threads beside other work.",
        "",
        "## Measured",
        "",
        f"The right one among the candidates that a table of link counts has for a mention, on {held['mentions']} held-out",
        "mentions that the table knows; weights fitted on the other half of them.",
        "",
        "| by | right |",
        "|---|---|",
        *(f"| {way} | {value:.1%} |" for way, value in rows),
        "",
    ]  # fmt: skip
    if evaluated:
        name, figures = evaluated
        lines += [
            f"{name}{'' if figures['documents, one in'] == 1 else ', one document in ' + str(figures['documents, one in'])}, {figures['mentions']:,} linked mentions, of which {figures['among candidates']:.1%} have their name among the",
            "candidates; a fifth of its tokens is starred out. Weights as fitted on the held-out ones; nothing",
            "was chosen on it.",
            "",
            "| by | right |",
            "|---|---|",
            *(f"| {way} | {value:.1%} |" for way, value in figures.items() if way in held),
            "",
        ]
    lines += [
        "## Parity",
        "",
        f"Matrices are kept in int8, a scale a row: shares of probes' names are at most {apart:.4f} from those of the",
        "trained layers. `reference.json` has what the kept layers say; the service multiplies in fp32 and",
        f"may be {SERVED_PARITY:g} off, of a logarithm and of one more than itself.",
        "",
    ]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")
