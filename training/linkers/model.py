"""The linker: a BERT over a question and one table, and two numbers for every token.

The score of a column is the mean of the first number over the column's tokens, and that of the
table the second number at the first token. What is linear may be averaged afterwards: the graph
gives numbers of tokens and knows nothing of columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import torch
from torch import Tensor, nn

from encoders.model import Bert

COLUMN, TABLE = 0, 1


class Linker(nn.Module):
    """Logits of tokens, [batch, tokens, 2]. Embeddings are the base's and never trained."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert = bert
        self.head = nn.Linear(bert.shape.hidden, 2)

    @staticmethod
    def start(base: Path, seed: int) -> "Linker":
        model = Linker(Bert.read(base))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            model.head.weight.normal_(0.0, 0.02, generator=generator)
            # Most columns and tables are none that a question needs.
            model.head.bias.fill_(-2.0)
        model.bert.freeze_embeddings()
        return model

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        parts = self.bert.embeddings
        places = parts.position_embeddings.weight[: ids.shape[1]]
        x = parts.LayerNorm(parts.word_embeddings(ids) + places + parts.token_type_embeddings(types))
        visible = mask.bool()[:, None, None, :]
        for layer in self.bert.layers:
            x = layer(x, visible)
        return self.head(x).float()

    def trained_state(self) -> Dict[str, Tensor]:
        head = {f"head.{name}": value.detach().clone() for name, value in self.head.state_dict().items()}
        return {**self.bert.trained_state(), **head}

    def load_trained(self, state: Dict[str, Tensor]) -> None:
        self.bert.load_state_dict({k: v for k, v in state.items() if k.startswith("encoder.")}, strict=False)
        self.head.load_state_dict({k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")})


def column_scores(logits: Tensor, spans: Tensor) -> Tensor:
    """[batch, columns] from [batch, tokens, 2] and the column that every token belongs to,
    [batch, tokens], -1 for none."""
    width = max(1, int(spans.max()) + 1)
    place = spans.clamp(min=0)
    inside = (spans >= 0).float()
    sums = logits.new_zeros(len(spans), width).scatter_add(1, place, logits[..., COLUMN] * inside)
    counts = logits.new_zeros(len(spans), width).scatter_add(1, place, inside)
    return sums / counts.clamp(min=1)
