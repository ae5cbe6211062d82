"""A tiny encoder with a tokenizer of its own, and a tiny world to train it on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Dict, List, Tuple

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from encoders.data import Source
from encoders.model import Bert, Shape

WORDS = [f"w{i}" for i in range(120)]
SHAPE = Shape(hidden=32, layers=2, heads=4, intermediate=64, vocabulary=len(WORDS) + 4, positions=40)


def write_base(folder: Path, seed: int = 0) -> None:
    """A model folder as sentence-transformers lays it out, untrained."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    bert = Bert(SHAPE)
    for name, parameter in bert.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5 if "embeddings.word" in name else 0.1)
    save_file({k: v.contiguous() for k, v in bert.state_dict().items()}, folder / "model.safetensors")
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": SHAPE.hidden,
        "num_hidden_layers": SHAPE.layers,
        "num_attention_heads": SHAPE.heads,
        "intermediate_size": SHAPE.intermediate,
        "vocab_size": SHAPE.vocabulary,
        "max_position_embeddings": SHAPE.positions,
        "type_vocab_size": SHAPE.token_types,
        "layer_norm_eps": SHAPE.epsilon,
    }
    (folder / "config.json").write_text(json.dumps(config))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))


def translations(count: int = 60, seed: int = 0) -> Source:
    """Queries in words whose partners, and not themselves, stand in the texts: an untrained
    encoder cannot know which is whose partner, a trained one can."""
    generator = random.Random(seed)
    half = len(WORDS) // 2
    partner = {WORDS[i]: WORDS[half + i] for i in range(16)}
    texts: List[str] = []
    queries: List[str] = []
    relevant: List[Dict[int, float]] = []
    for i in range(count):
        subject = generator.sample(list(partner), 3)
        queries.append(" ".join(subject))
        filler = generator.choices(WORDS[half + 16 :], k=2)
        words = [partner[w] for w in subject] + filler
        generator.shuffle(words)
        texts.append(" ".join(words))
        relevant.append({i: 1.0})
    return Source("translations", texts, queries, relevant, [i for i in range(count) if i % 5 == 0])


def states(batch: int = 3, tokens: int = 7, hidden: int = 32, seed: int = 0) -> Tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(batch, tokens, dtype=torch.int64)
    for row in range(batch):
        mask[row, : tokens - 2 * row] = 1
    return torch.randn(batch, tokens, hidden, generator=generator), mask
