"""From a run to files: the compact layers that are kept in the repository, folders in the layout
of sentence-transformers, ONNX graphs; and the check that all of them say the same.

The layout of every file is described in training/README.md.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import onnxruntime
from safetensors.numpy import load, load_file, save, save_file

from . import graph
from .model import Bert, Shape
from .pooling import Pooling, make
from .texts import Tokens, encode, padded

LAYERS = "layers.safetensors.gz"
HEAD = "head.safetensors.gz"
#: The same as a graph, which is what the service runs.
HEAD_GRAPH = "head.onnx"
MANIFEST = "trained.toml"
FORMAT = "gleaner-layers-1"
#: The package whose weights the layers belong to (tools/assets.json).
BASE = "all-MiniLM-L6-v2"
#: Least cosine between an export and the trained encoder.
FLOAT_PARITY, INTEGER_PARITY = 0.999, 0.99

#: Varied in length, language, case and kind; the check runs over them alone and in batches.
PROBES = [
    "a",
    "What is the boiling point of water at high altitude?",
    "calcium supplements and heart attacks",
    "def add(a, b):\n    return a + b",
    "ERROR 1045 (28000): Access denied for user 'root'@'localhost'",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "3.14159 26535 89793 23846 26433 83279",
    "The committee met on Tuesday. " * 12,
    "pressure distribution over a swept wing at transonic speeds",
    " ".join(f"item {i} costs {i * 7 % 13} euros;" for i in range(90)),
]


class ParityError(Exception):
    """An export does not say what the trained encoder says."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrays(module: "Bert | Pooling") -> Dict[str, np.ndarray]:
    return {name: value.detach().float().cpu().numpy() for name, value in module.state_dict().items()}


def compact(weights: Dict[str, np.ndarray], path: Path, base_sha256: str) -> None:
    """Matrices as int8 with a scale a row (`NAME.scale`), vectors as they are."""
    stored: Dict[str, np.ndarray] = {}
    for name, value in weights.items():
        if value.ndim == 2:
            integers, scales = graph.quantised(value)
            stored[name] = integers
            stored[f"{name}.scale"] = scales
        else:
            stored[name] = np.ascontiguousarray(value, dtype=np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    pack(save(stored, metadata={"format": FORMAT, "base": BASE, "base_sha256": base_sha256}), path)


def pack(tensors: bytes, path: Path) -> None:
    """Writes a file of tensors, compressed: the same bytes each time, since its hash is kept."""
    path.write_bytes(gzip.compress(tensors, 9, mtime=0))


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def expanded(path: Path) -> Dict[str, np.ndarray]:
    """The fp32 weights that a compact file stands for."""
    stored = load(unpacked(path))
    out: Dict[str, np.ndarray] = {}
    for name, value in stored.items():
        if value.dtype == np.int8:
            out[name] = value.astype(np.float32) * stored[f"{name}.scale"][:, None]
        elif not name.endswith(".scale"):
            out[name] = value
    return out


def metadata(path: Path) -> Dict[str, str]:
    tensors = unpacked(path)
    length = int.from_bytes(tensors[:8], "little")
    return dict(json.loads(tensors[8 : 8 + length]).get("__metadata__", {}))


def assemble(model: Path, base: Path, out: Path) -> None:
    """A folder in the layout of sentence-transformers from the compact layers in `model` and the
    embeddings and the tokenizer in `base`; raises ValueError where they do not belong together."""
    layers = model / LAYERS
    about = metadata(layers)
    if about.get("format") != FORMAT:
        raise ValueError(f"{layers}: not a file of {FORMAT}")
    found = sha256(base / "model.safetensors")
    if about.get("base_sha256") != found:
        raise ValueError(f"{base / 'model.safetensors'}: sha256 {found}, but the layers belong to {about.get('base_sha256')}")
    import tomllib

    manifest = tomllib.loads((model / MANIFEST).read_text(encoding="utf-8"))
    if manifest["pooling"] not in MODES:
        raise ValueError(
            f"{model / MANIFEST}: the pooling {manifest['pooling']} has weights, which this layout has no place for; "
            "`gleaner models add` takes the folder as it is"
        )
    weights = load_file(base / "model.safetensors")
    prefix = "bert." if any(name.startswith("bert.") for name in weights) else ""
    for name, value in expanded(layers).items():
        if weights[prefix + name].shape != value.shape:
            raise ValueError(f"{layers}: `{name}` has another shape than the base's")
        weights[prefix + name] = value
    out.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        if path.is_file() and path.name not in ("model.safetensors", "data_config.json"):
            shutil.copyfile(path, out / path.name)
    save_file({name: np.ascontiguousarray(value, dtype=np.float32) for name, value in weights.items() if value.dtype.kind == "f"}, out / "model.safetensors", metadata={"format": "pt"})
    write_pipeline(out, manifest["pooling"], int(manifest["max_tokens"]), Shape.read(base).hidden)


#: What sentence-transformers calls the poolings that are arithmetic.
MODES = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
    "weighted_mean": "pooling_mode_weightedmean_tokens",
}


def write_pipeline(out: Path, pooling: str, max_tokens: int, hidden: int) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (out / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    config = {"max_seq_length": max_tokens, "do_lower_case": False}
    (out / "sentence_bert_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
    modes: Dict[str, object] = {"word_embedding_dimension": hidden}
    modes.update({key: name == pooling for name, key in MODES.items()})
    (out / "1_Pooling").mkdir(exist_ok=True)
    (out / "1_Pooling" / "config.json").write_text(json.dumps(modes, indent=2) + "\n", encoding="utf-8")


def run_graph(path: Path, rows: Sequence[np.ndarray], alone: bool) -> np.ndarray:
    """Vectors of a fused graph, each text by itself or all in one padded batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    out: List[np.ndarray] = []
    for batch in [[row] for row in rows] if alone else [rows]:
        ids, mask = (part.numpy() for part in padded(batch))
        feed = {"input_ids": ids, "attention_mask": mask, "pooling_mask": mask}
        out.append(session.run(["vectors"], feed)[0])
    return np.concatenate(out)


def check(what: str, found: np.ndarray, expected: np.ndarray, least: float) -> float:
    """The least cosine; raises ParityError below `least`."""
    cosine = (found * expected).sum(1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1))
    lowest = float(cosine.min()) if np.isfinite(cosine).all() else float("nan")
    if not lowest >= least:
        raise ParityError(f"{what}: least cosine {lowest:.5f}, expected at least {least}")
    return lowest


def export(
    name: str,
    bert: Bert,
    pooling: Pooling,
    base: Path,
    out: Path,
    max_tokens: int,
    graphs: Optional[Path] = None,
    probes: Sequence[str] = tuple(PROBES),
) -> Dict[str, float]:
    """Writes the compact layers (and head) into `out`, the fused graphs into `graphs`, and returns
    the least cosine of each form to the trained encoder. Raises ParityError, and leaves `out` as
    it was, where one is too low."""
    tokens = Tokens(base)
    rows = tokens.ids(probes, max_tokens)
    bert, pooling = bert.cpu().eval(), pooling.cpu().eval()
    expected = encode(bert, pooling, rows)
    weights = arrays(bert)
    head = arrays(pooling)
    parity: Dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trained = {key: value for key, value in weights.items() if key.startswith("encoder.")}
        compact(trained, folder / LAYERS, sha256(base / "model.safetensors"))
        if head:
            compact(head, folder / HEAD, sha256(base / "model.safetensors"))
        restored = Bert.read(base)
        restored.load_state_dict(_tensors(expanded(folder / LAYERS)), strict=False)
        again = make(pooling.name, bert.shape.hidden, bert.shape.layers + 1, _latents(head), _heads(pooling))
        if head:
            again.load_state_dict(_tensors(expanded(folder / HEAD)))
        parity["compact"] = check("the compact layers", encode(restored, again.eval(), rows), expected, INTEGER_PARITY)
        if pooling.name in ("mean", "latent_attention", "multi_layer"):
            for integers, least in ((False, FLOAT_PARITY), (True, INTEGER_PARITY)):
                file = "encoder.int8.onnx" if integers else "encoder.onnx"
                model = graph.fused(pooling.name, weights, bert.shape, head, _heads(pooling), integers)
                graph.save(model, folder / file)
                for alone in (True, False):
                    cosine = check(file, run_graph(folder / file, rows, alone), expected, least)
                    parity[file] = min(parity.get(file, 1.0), cosine)
            if head:
                _check_head(pooling, bert, rows, folder, parity)
        out.mkdir(parents=True, exist_ok=True)
        for file in (LAYERS, HEAD, HEAD_GRAPH):
            if (folder / file).is_file():
                shutil.copyfile(folder / file, out / file)
        if graphs:
            graphs.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.onnx"):
                shutil.copyfile(path, graphs / path.name)
    return parity


def _check_head(pooling: Pooling, bert: Bert, rows: Sequence[np.ndarray], folder: Path, parity: Dict[str, float]) -> None:
    """The pooling alone, fed with the encoder's states; one instruction token is left out."""
    import torch

    from .pooling import pool

    for integers, least in ((False, FLOAT_PARITY), (True, INTEGER_PARITY)):
        file = "head.int8.onnx" if integers else "head.onnx"
        layers = bert.shape.layers + 1
        graph.save(graph.head(pooling.name, arrays(pooling), bert.shape.hidden, layers, _heads(pooling), integers), folder / file)
        ids, mask = padded(rows)
        with torch.no_grad():
            states = bert.states(ids, mask)
            pooled = mask.clone()
            pooled[:, 1] = 0
            expected = pool(pooling, states, pooled).numpy()
        inputs = {"pooling_mask": pooled.numpy()}
        if pooling.multi_layer:
            inputs["layer_states"] = torch.stack(states, dim=1).numpy()
        else:
            inputs["token_states"] = states[-1].numpy()
        session = onnxruntime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])
        parity[file] = check(file, session.run(["vectors"], inputs)[0], expected, least)


def _tensors(values: Dict[str, np.ndarray]):
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}


def _latents(head: Dict[str, np.ndarray]) -> Optional[int]:
    return len(head["latents"]) if "latents" in head else None


def _heads(pooling: Pooling) -> int:
    attention = getattr(pooling, "attention", None)
    return attention.heads if attention is not None else 8


def write_manifest(
    out: Path,
    name: str,
    pooling: str,
    max_tokens: int,
    hidden: int,
    quality: List[Dict[str, object]],
    shorter: Sequence[int] = (),
) -> None:
    """`trained.toml`: what the layers are and what they need."""
    lines = [
        "# Layers trained on top of a published encoder; training/README.md describes the files.",
        f'name = "{name}"',
        f'format = "{FORMAT}"',
        'kind = "text-encoder"',
        f'base = "{BASE}"',
        f'pooling = "{pooling}"',
        "normalize = true",
        f"max_tokens = {max_tokens}",
        f"dimensions = {hidden}",
        f"matryoshka = {sorted(shorter)}",
        'licence = "Apache-2.0"',
        "",
        "[prompts]",
        'query = ""',
        'document = ""',
        "",
        "[files]",
    ]
    for file in (LAYERS, HEAD, HEAD_GRAPH):
        if (out / file).is_file():
            lines.append(f'"{file}" = "{sha256(out / file)}"')
    for row in quality:
        lines += ["", "[[quality]]", f'dataset = "{row["dataset"]}"', f'measure = "{row["measure"]}"', f"value = {row['value']}"]
    (out / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


