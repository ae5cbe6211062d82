"""A cross-encoder in the form of BertForSequenceClassification with one label: the last layer's
first token through a dense layer with tanh (the pooler) and a linear layer (the classifier).

The names of the parameters are the published ones. Embeddings, of words, positions and token
types alike, are the base's and never trained: they are shared with the encoders and not stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import torch
from torch import Tensor, nn

from encoders.model import Bert, Shape


class CrossEncoder(nn.Module):
    """Scores of pairs: one number, without bounds, higher for more relevant."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        hidden = bert.shape.hidden
        self.bert = bert
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})
        self.classifier = nn.Linear(hidden, 1)

    @staticmethod
    def start(base: Path, seed: int) -> "CrossEncoder":
        """The base's layers under a new head. The pooler begins as the identity, so that what the
        first token knows reaches the classifier; the classifier begins near zero, so that all
        pairs begin with about one score. Only the classifier depends on the seed."""
        model = CrossEncoder(Bert.read(base))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            nn.init.eye_(model.pooler["dense"].weight)
            nn.init.zeros_(model.pooler["dense"].bias)
            model.classifier.weight.normal_(0.0, 0.02, generator=generator)
            nn.init.zeros_(model.classifier.bias)
        model.bert.freeze_embeddings()
        return model

    @property
    def shape(self) -> Shape:
        return self.bert.shape

    def embedded(self, ids: Tensor, types: Tensor) -> Tensor:
        """What the first layer takes, [batch, tokens, hidden]. `types` is 0 for the query's tokens and
        1 for the text's."""
        parts = self.bert.embeddings
        places = parts.position_embeddings.weight[: ids.shape[1]]
        kinds = nn.functional.embedding(types, parts.token_type_embeddings.weight)
        return parts.LayerNorm(parts.word_embeddings(ids) + places + kinds)

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """[batch] from [batch, tokens] each; `mask` is 1 for tokens and 0 for padding."""
        x = self.embedded(ids, types)
        visible = mask.bool()[:, None, None, :]
        if x.is_cuda:
            # Once, and not in every layer: the fused operators take a bias.
            kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
            visible = torch.zeros(visible.shape, dtype=kind, device=x.device).masked_fill(~visible, torch.finfo(kind).min)
        for layer in self.bert.layers:
            x = layer(x, visible)
        first = torch.tanh(self.pooler["dense"](x[:, 0]))
        return self.classifier(first)[:, 0].float()

    def head_state(self) -> Dict[str, Tensor]:
        """Pooler and classifier by the names they have in a published folder."""
        pooler = {f"bert.pooler.dense.{name}": value for name, value in self.pooler["dense"].state_dict().items()}
        return {**pooler, **{f"classifier.{name}": value for name, value in self.classifier.state_dict().items()}}

    def trained_state(self) -> Dict[str, Tensor]:
        """What training may change, layers as `encoder....` and the head; copies."""
        head = {name: value.detach().clone() for name, value in self.head_state().items()}
        return {**self.bert.trained_state(), **head}

    def load_trained(self, state: Dict[str, Tensor]) -> None:
        """Raises ValueError where a tensor is missing or of another shape."""
        own = {**{k: v for k, v in self.bert.state_dict().items() if k.startswith("encoder.")}, **self.head_state()}
        for name, value in own.items():
            if name not in state or state[name].shape != value.shape:
                raise ValueError(f"`{name}` is missing or has another shape")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])
