"""A BERT encoder and the poolings over its token states.

Parameters carry the names of the published safetensors files, so that weights are read and
written without a table of names. Nothing here depends on what shares a batch: padding is
masked in the attention and in every pooling.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Shape of a BERT, as `config.json` has it."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int = 2
    epsilon: float = 1e-12

    @staticmethod
    def read(folder: Path) -> "Shape":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
            raise ValueError(f"{folder / 'config.json'}: only a BERT with gelu can be trained here")
        return Shape(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            token_types=config.get("type_vocab_size", 2),
            epsilon=config.get("layer_norm_eps", 1e-12),
        )


class Embeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocabulary, shape.hidden)
        self.position_embeddings = nn.Embedding(shape.positions, shape.hidden)
        self.token_type_embeddings = nn.Embedding(shape.token_types, shape.hidden)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0])


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        hidden = shape.hidden
        self.self = nn.ModuleDict({part: nn.Linear(hidden, hidden) for part in ("query", "key", "value")})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(hidden, hidden), "LayerNorm": nn.LayerNorm(hidden, eps=shape.epsilon)}
        )

    def forward(self, x: Tensor, mask: Optional[Tensor]) -> Tensor:
        batch, length, hidden = x.shape

        def split(part: str) -> Tensor:
            return self.self[part](x).view(batch, length, self.heads, -1).transpose(1, 2)

        query, key, value = split("query"), split("key"), split("value")
        if x.device.type == "cpu" and torch.is_grad_enabled():
            # Written out: the backward pass of the fused operator takes three times as long there.
            mixed = written_out(query, key, value, mask)
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(batch, length, hidden)
        return self.output["LayerNorm"](self.output["dense"](mixed) + x)


def written_out(query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor]) -> Tensor:
    """Attention of [batch, heads, tokens, size]; `mask` [batch, 1, 1, tokens], False for padding."""
    batch, heads, length, size = query.shape
    query, key, value = (part.reshape(batch * heads, length, size) for part in (query, key, value))
    if mask is None:
        bias = query.new_zeros(1, 1, 1)
    else:
        bias = torch.zeros(mask.shape, dtype=query.dtype, device=query.device)
        bias = bias.masked_fill(~mask, torch.finfo(query.dtype).min)
        bias = bias.expand(batch, heads, 1, length).reshape(batch * heads, 1, length)
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=size**-0.5)
    return torch.bmm(torch.softmax(scores, -1), value).view(batch, heads, length, size)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(shape.hidden, shape.intermediate)})
        self.output = nn.ModuleDict(
            {
                "dense": nn.Linear(shape.intermediate, shape.hidden),
                "LayerNorm": nn.LayerNorm(shape.hidden, eps=shape.epsilon),
            }
        )

    def forward(self, x: Tensor, mask: Optional[Tensor]) -> Tensor:
        x = self.attention(x, mask)
        return self.output["LayerNorm"](self.output["dense"](F.gelu(self.intermediate["dense"](x))) + x)


def published(name: str) -> str:
    """A parameter's name here; files of old call what a LayerNorm has gamma and beta."""
    name = name.removeprefix("bert.")
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


class Bert(nn.Module):
    """Token states of texts. Dropout is left out: the runs here are short."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(shape) for _ in range(shape.layers))})

    @staticmethod
    def read(folder: Path) -> "Bert":
        """Reads `config.json` and `model.safetensors`."""
        model = Bert(Shape.read(folder))
        stored = {published(name): value for name, value in load_file(folder / "model.safetensors").items()}
        missing, _ = model.load_state_dict(
            {name: value.float() for name, value in stored.items()}, strict=False
        )
        if missing:
            raise ValueError(f"{folder / 'model.safetensors'}: lacks {missing[0]}")
        return model

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder["layer"]

    def freeze_embeddings(self) -> None:
        """Words, positions and their normalisation stay as they are: they come from elsewhere."""
        for parameter in self.embeddings.parameters():
            parameter.requires_grad_(False)

    def states(self, ids: Tensor, mask: Tensor, first: int = 0, last: Optional[int] = None) -> List[Tensor]:
        """States after the embeddings and after every layer below `last`: `layers + 1` tensors.

        `ids` is [batch, tokens]; where `first` is above 0 it holds the states that layer takes,
        [batch, tokens, hidden]. `mask` is 1 for tokens and 0 for padding.
        """
        x = self.embeddings(ids) if first == 0 else ids
        # No mask where nothing is padded: the attention then takes its fast path.
        visible = None if bool(mask.all()) else mask.bool()[:, None, None, :]
        states = [x]
        for layer in self.layers[first:last]:
            x = layer(x, visible)
            states.append(x)
        return states

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.states(ids, mask)[-1]

    def trained_state(self) -> Dict[str, Tensor]:
        """What training may change: the layers, without the embeddings."""
        return {k: v.detach().clone() for k, v in self.state_dict().items() if k.startswith("encoder.")}
