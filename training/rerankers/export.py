"""From a run to files: compact layers, head and manifest as the repository keeps them, a full folder
in the layout of BertForSequenceClassification, ONNX graphs; and the check that all of them say the
same about the same pairs. training/README.md describes the files.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.numpy import save, save_file

from encoders import graph
from encoders.export import BASE, FORMAT, HEAD, LAYERS, MANIFEST, ParityError, arrays, compact, expanded, metadata, pack, sha256
from encoders.model import Bert

from .graph import INPUTS, cross_encoder
from .measures import probability
from .model import CrossEncoder
from .pairs import Pairs, Tokeniser, longest_query, pairs_of

REFERENCE = "reference.json"
#: Most that a calibrated score may differ, and least share of two passages of one query that
#: stand in the same order, of fp32 and of int8.
FLOAT_PARITY = (0.001, 0.999)
INTEGER_PARITY = (0.05, 0.95)

#: Passages of every kind are asked about with every query: some of them answer it.
QUERIES = [
    "a",
    "What is the boiling point of water at high altitude?",
    "calcium supplements and heart attacks",
    "add two numbers in python",
    "access denied for user root",
    "pressure distribution over a swept wing at transonic speeds",
    "Wie springt ein Fuchs?",
    "the effect of vitamin D on the risk of fractures in elderly women " * 12,
]
PASSAGES = [
    "a",
    "Water boils at 100 degrees Celsius at sea level; at 3000 m the boiling point falls to about 90 degrees.",
    "Calcium supplements were associated with an increased risk of myocardial infarction in a meta-analysis of trials.",
    "Dietary calcium is not associated with cardiovascular events, while supplements may be.",
    "def add(a, b):\n    return a + b",
    "ERROR 1045 (28000): Access denied for user 'root'@'localhost'",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "3.14159 26535 89793 23846 26433 83279",
    "The committee met on Tuesday. " * 12,
    "The pressure distribution over swept wings was measured in a transonic wind tunnel at Mach 0.9.",
    "Vitamin D with calcium reduces the risk of hip fractures in older women living in institutions.",
    " ".join(f"item {i} costs {i * 7 % 13} euros;" for i in range(90)),
]


@dataclass
class Probes:
    """Pairs that every form of a model is asked about: all passages with each query."""

    queries: Sequence[str]
    passages: Sequence[str]
    pairs: Pairs

    @staticmethod
    def of(base: Path, max_tokens: int, queries: Sequence[str] = QUERIES, passages: Sequence[str] = PASSAGES) -> "Probes":
        tokeniser = Tokeniser(base)
        return Probes(queries, passages, pairs_of(tokeniser, list(queries), list(passages), longest_query(max_tokens), max_tokens))

    def positions(self) -> Tuple[torch.Tensor, torch.Tensor]:
        rows = torch.arange(len(self.queries)).repeat_interleave(len(self.passages))
        return rows, torch.arange(len(self.passages)).repeat(len(self.queries))

    def batches(self, max_tokens: int, alone: bool) -> List[Tuple[NDArray, NDArray, NDArray]]:
        """Ids, types and mask, each pair by itself without padding or all of them in one batch."""
        queries, passages = self.positions()
        lengths = self.pairs.lengths(queries, passages).clamp(max=max_tokens)
        groups = [[i] for i in range(len(queries))] if alone else [list(range(len(queries)))]
        return [
            tuple(part.numpy() for part in self.pairs.batch(queries[some], passages[some], int(lengths[some].max())))  # type: ignore[misc]
            for some in groups
        ]


def logits_of(model: CrossEncoder, probes: Probes, max_tokens: int) -> NDArray[np.float32]:
    model = model.cpu().eval()
    with torch.no_grad():
        parts = [model(*(torch.from_numpy(part) for part in batch)) for batch in probes.batches(max_tokens, alone=True)]
    return torch.cat(parts).numpy()


def run_graph(path: Path, probes: Probes, max_tokens: int, alone: bool) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    out = []
    for ids, types, mask in probes.batches(max_tokens, alone):
        feed = dict(zip(INPUTS, (ids, mask, types)))
        out.append(session.run(["logits"], feed)[0][:, 0])
    return np.concatenate(out)


def same_order(found: NDArray, expected: NDArray, passages: int) -> float:
    """Share of two passages of one query that stand in the same order."""
    signs = []
    for values in (found, expected):
        rows = values.reshape(-1, passages)
        signs.append(np.sign(rows[:, :, None] - rows[:, None, :]))
    upper = np.triu(np.ones((passages, passages), bool), 1)
    return float((signs[0] == signs[1])[:, upper].mean())


def check(
    what: str, found: NDArray, expected: NDArray, calibration: Tuple[float, float], passages: int, bounds: Tuple[float, float]
) -> Dict[str, float]:
    """The largest difference of a calibrated score and the share of pairs in the same order; raises
    ParityError beyond the bounds."""
    most, least = bounds
    difference = float(np.abs(probability(found, *calibration) - probability(expected, *calibration)).max())
    order = same_order(found, expected, passages)
    if not (np.isfinite(found).all() and difference <= most and order >= least):
        raise ParityError(
            f"{what}: scores differ by up to {difference:.5f} (at most {most}), "
            f"{order:.4f} of the passages stand in the same order (at least {least})"
        )
    return {"difference": difference, "order": order}


def head_arrays(model: CrossEncoder) -> Dict[str, NDArray[np.float32]]:
    return {name: value.detach().float().cpu().numpy() for name, value in model.head_state().items()}


def export(
    model: CrossEncoder,
    base: Path,
    out: Path,
    max_tokens: int,
    calibration: Tuple[float, float],
    graphs: Optional[Path] = None,
    probes: Optional[Probes] = None,
) -> Dict[str, Dict[str, float]]:
    """Writes layers, head and reference scores into `out`, the graphs into `graphs`, and returns how
    near each form comes to the trained model. Raises ParityError, and leaves `out` as it was, where
    one is too far off."""
    probes = probes or Probes.of(base, max_tokens)
    expected = logits_of(model, probes, max_tokens)
    weights = arrays(model.bert)
    head = head_arrays(model)
    whole = {**weights, **{name.removeprefix("bert."): value for name, value in head.items()}}
    count = len(probes.passages)
    parity: Dict[str, Dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        known = sha256(base / "model.safetensors")
        compact({key: value for key, value in weights.items() if key.startswith("encoder.")}, folder / LAYERS, known)
        # A thirtieth of the whole, and every score passes through it: kept as it is.
        tensors = {name: np.ascontiguousarray(value) for name, value in head.items()}
        pack(save(tensors, metadata={"format": FORMAT, "base": BASE, "base_sha256": known}), folder / HEAD)
        restored = restore(folder, base)
        parity["compact"] = check("the compact layers", logits_of(restored, probes, max_tokens), expected, calibration, count, INTEGER_PARITY)
        for integers, bounds in ((False, FLOAT_PARITY), (True, INTEGER_PARITY)):
            file = "model.int8.onnx" if integers else "model.onnx"
            graph.save(cross_encoder(whole, model.shape, integers), folder / file)
            for alone in (True, False):
                row = check(file, run_graph(folder / file, probes, max_tokens, alone), expected, calibration, count, bounds)
                known_row = parity.setdefault(file, row)
                parity[file] = {
                    "difference": max(row["difference"], known_row["difference"]),
                    "order": min(row["order"], known_row["order"]),
                }
        write_reference(folder / REFERENCE, probes, expected)
        out.mkdir(parents=True, exist_ok=True)
        for file in (LAYERS, HEAD, REFERENCE):
            shutil.copyfile(folder / file, out / file)
        if graphs:
            graphs.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.onnx"):
                shutil.copyfile(path, graphs / path.name)
    return parity


def restore(folder: Path, base: Path) -> CrossEncoder:
    """The model that the compact files of `folder` stand for."""
    model = CrossEncoder(Bert.read(base))
    stored = {**expanded(folder / LAYERS), **expanded(folder / HEAD)}
    model.load_trained({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in stored.items()})
    return model


def write_reference(path: Path, probes: Probes, logits: NDArray[np.float32]) -> None:
    """Some of the probes, for whoever assembles the model: each query with each third passage."""
    rows, columns = (part.tolist() for part in probes.positions())
    some = [i for i in range(len(rows)) if (rows[i] + columns[i]) % 3 == 0]
    content = {
        "queries": [probes.queries[rows[i]] for i in some],
        "passages": [probes.passages[columns[i]] for i in some],
        "logits": [round(float(logits[i]), 5) for i in some],
        "most": INTEGER_PARITY[0],
    }
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def assemble(model: Path, base: Path, out: Path) -> None:
    """A folder of BertForSequenceClassification, as `transformers` and CrossEncoder of
    sentence-transformers load it, from `model` and the embeddings and the tokenizer in `base`.
    Raises ValueError where they do not belong together."""
    import tomllib

    about = metadata(model / LAYERS)
    if about.get("format") != FORMAT:
        raise ValueError(f"{model / LAYERS}: not a file of {FORMAT}")
    found = sha256(base / "model.safetensors")
    for file in (LAYERS, HEAD):
        belongs = metadata(model / file).get("base_sha256")
        if belongs != found:
            raise ValueError(f"{base / 'model.safetensors'}: sha256 {found}, but {file} belongs to {belongs}")
    manifest = tomllib.loads((model / MANIFEST).read_text(encoding="utf-8"))
    restored = restore(model, base)
    out.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        # The pipeline around a text encoder is no part of this.
        if path.is_file() and path.name in KEPT:
            shutil.copyfile(path, out / path.name)
    state = {f"bert.{name}": value for name, value in arrays(restored.bert).items()}
    state.update(head_arrays(restored))
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    for key in ("_name_or_path", "transformers_version"):
        config.pop(key, None)
    config["architectures"] = ["BertForSequenceClassification"]
    config["id2label"], config["label2id"] = {"0": "LABEL_0"}, {"LABEL_0": 0}
    # Plain logits, as the calibration takes them.
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    path = out / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    settings["model_max_length"] = int(manifest["max_tokens"])
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


KEPT = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "LICENSE", "NOTICE")


def write_manifest(
    out: Path, max_tokens: int, calibration: Tuple[float, float], weight: float, quality: List[Dict[str, object]]
) -> None:
    """`trained.toml`: what the layers are and what they need."""
    lines = [
        "# A cross-encoder trained on top of a published encoder; training/README.md describes the files.",
        f'name = "{out.name}"',
        f'format = "{FORMAT}"',
        'kind = "reranker"',
        f'base = "{BASE}"',
        f"max_tokens = {max_tokens}",
        'licence = "Apache-2.0"',
        "",
        "# score = sigmoid((logit - offset) / temperature)",
        "[calibration]",
        f"temperature = {calibration[0]:.6f}",
        f"offset = {calibration[1]:.6f}",
        "",
        "# Against the first stage, as chosen on held-out queries.",
        "[recommended]",
        f"weight = {weight}",
        "",
        "[files]",
        *(f'"{file}" = "{sha256(out / file)}"' for file in (LAYERS, HEAD)),
    ]
    for row in quality:
        lines += ["", "[[quality]]", f'dataset = "{row["dataset"]}"', f'measure = "{row["measure"]}"', f"value = {row['value']}"]
    (out / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")
