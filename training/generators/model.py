"""The generator: the base's encoder, its upper layers trained, and a small decoder.

- Encoder: a BERT's. Where the trained layers begin, a trained vector is added to the states of the
  mention's tokens, marks included. What the decoder reads is the last layer's states plus the
  embeddings, weighted by dimension, so that words can be copied.
- Decoder: layers of self-attention, attention to the encoder's states, and a feed-forward part, each
  followed by a normalisation of layers as in BERT; they start as copies of the encoder's upper ones.
  Embeddings of words and positions are the base's, in and out.

Parameters carry the names that transformers has for a BERT as a decoder.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Dict, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.model import Bert, Layer, Shape

from .inputs import Inputs


class CrossLayer(nn.Module):
    """A layer of the decoder; both attentions have BERT's names."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        base = Layer(shape)
        self.attention, self.intermediate, self.output = base.attention, base.intermediate, base.output
        self.crossattention = Layer(shape).attention

    def forward(self, x: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """`x` [inputs, names, tokens, hidden]; `memory` [inputs, length, hidden]."""
        inputs, names, tokens, hidden = x.shape
        flat = x.reshape(inputs * names, tokens, hidden)
        part = self.attention
        query, key, value = (_split(part.self[p](flat), self.heads) for p in ("query", "key", "value"))
        mixed = mix(query, key, value, later(tokens))
        flat = part.output["LayerNorm"](part.output["dense"](_join(mixed)) + flat)

        part = self.crossattention
        rows = flat.reshape(inputs, names * tokens, hidden)
        query = _split(part.self["query"](rows), self.heads)
        key, value = (_split(part.self[p](memory), self.heads) for p in ("key", "value"))
        mixed = mix(query, key, value, unseen(visible, query.dtype))
        rows = part.output["LayerNorm"](part.output["dense"](_join(mixed)) + rows)
        rows = self.output["LayerNorm"](self.output["dense"](F.gelu(self.intermediate["dense"](rows))) + rows)
        return rows.view(inputs, names, tokens, hidden)


def mix(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention of [rows, heads, tokens, size], written out: the fused operator's backward pass takes
    several times as long on a processor."""
    scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
    return torch.softmax(scores + bias.to(scores.dtype), -1) @ value


def later(tokens: int) -> Tensor:
    """Hides what comes after a token, [tokens, tokens]."""
    return torch.full((tokens, tokens), -1e4).triu(1)


def unseen(visible: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, -1e4)


def _split(x: Tensor, heads: int) -> Tensor:
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def _join(x: Tensor) -> Tensor:
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


class Generator(nn.Module):
    """Log-probabilities of names under inputs."""

    def __init__(self, bert: Bert, layers: int, frozen: int, marks: Tuple[int, int]) -> None:
        super().__init__()
        self.bert, self.frozen, self.marks = bert, frozen, marks
        hidden = bert.shape.hidden
        self.decoder = nn.ModuleList(CrossLayer(bert.shape) for _ in range(layers))
        self.transform = nn.ModuleDict({"dense": nn.Linear(hidden, hidden), "LayerNorm": nn.LayerNorm(hidden, eps=bert.shape.epsilon)})
        self.bias = nn.Parameter(torch.zeros(bert.shape.vocabulary))
        self.mention = nn.Parameter(torch.zeros(hidden))
        self.copied = nn.Parameter(torch.zeros(hidden))

    @staticmethod
    def start(base: Path, inputs: Inputs, layers: int, frozen: int, seed: int = 1) -> "Generator":
        model = Generator(Bert.read(base), layers, frozen, (inputs.opening, inputs.closing))
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for i, layer in enumerate(model.decoder):
                source = model.bert.layers[len(model.bert.layers) - layers + i]
                for name in ("attention", "intermediate", "output"):
                    getattr(layer, name).load_state_dict(getattr(source, name).state_dict())
                layer.crossattention.load_state_dict(source.attention.state_dict())
                # What is attended to goes through as it is, so that words are copied from the start.
                for part in (layer.crossattention.self["value"], layer.crossattention.output["dense"]):
                    part.weight.copy_(torch.eye(model.bert.shape.hidden))
                    part.bias.zero_()
            model.transform["dense"].weight.copy_(torch.eye(model.bert.shape.hidden))
            model.transform["dense"].bias.zero_()
            model.transform["LayerNorm"].weight.fill_(0.3)
            model.mention.normal_(0.0, 0.1, generator=random)
            model.copied.fill_(0.5)
        model.bert.freeze_embeddings()
        for layer in model.bert.layers[:frozen]:
            layer.requires_grad_(False)
        return model

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What the decoder attends to, [inputs, length, hidden]."""
        visible = mask.bool()[:, None, None, :]
        with torch.no_grad():
            embedded = self.bert.embeddings(ids)
            x = embedded
            for layer in self.bert.layers[: self.frozen]:
                x = layer(x, visible)
        opening, closing = ids == self.marks[0], ids == self.marks[1]
        # Within: an opening mark before or here, and no closing one before.
        within = opening.cumsum(1) - closing.cumsum(1) + closing.long()
        x = x + within[:, :, None].to(x.dtype) * self.mention
        for layer in self.bert.layers[self.frozen :]:
            x = layer(x, visible)
        return x + self.copied * embedded

    def write(self, memory: Tensor, mask: Tensor, given: Tensor) -> Tensor:
        """States of what is written, [inputs, names, tokens, hidden], ready for the vocabulary."""
        parts = self.bert.embeddings
        places = parts.position_embeddings.weight[: given.shape[2]]
        x = parts.LayerNorm(parts.word_embeddings(given) + places + parts.token_type_embeddings.weight[0])
        visible = mask.bool()[:, None, None, :]
        for layer in self.decoder:
            x = layer(x, memory, visible)
        return self.transform["LayerNorm"](self.transform["dense"](x))

    def forward(self, ids: Tensor, mask: Tensor, given: Tensor, wanted: Tensor, sampled: int = 0) -> Tensor:
        """Log-probability of each wanted token, [inputs, names, tokens]; 0 where none is.

        With `sampled`, of the words that none of these names has only so many, drawn evenly, stand
        for all: an unbiased estimate of what is divided by, at a fraction of the cost."""
        states = self.write(self.read(ids, mask), mask, given)
        some = wanted >= 0
        table, bias, target = self.bert.embeddings.word_embeddings.weight, self.bias, wanted[some]
        if sampled:
            own = torch.zeros(len(table), dtype=torch.bool)
            own[target] = True
            rest = (~own).nonzero()[:, 0]
            drawn = rest[torch.randint(len(rest), (sampled,))]
            words = own.nonzero()[:, 0]
            target = torch.searchsorted(words, target)
            kept = torch.cat([words, drawn])
            share = torch.zeros(len(kept))
            share[len(words) :] = math.log(len(rest) / sampled)
            table, bias = table[kept], bias[kept] + share.to(bias.dtype)
        logits = F.linear(states[some], table, bias.to(states.dtype))
        found = -F.cross_entropy(logits.float(), target, reduction="none")
        out = found.new_zeros(wanted.shape)
        out[some] = found
        return out

    def whole(self, states: Tensor) -> Tensor:
        """What the exponentials of all words' logits sum up to, its logarithm, of [rows, hidden]."""
        table = self.bert.embeddings.word_embeddings.weight
        return torch.cat([torch.logsumexp(F.linear(part, table, self.bias).float(), 1) for part in states.split(256)])

    def trained(self) -> List[Tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.named_parameters() if p.requires_grad]

    def trained_state(self) -> Dict[str, Tensor]:
        """By the names of the files."""
        return {published(name): p.detach().clone() for name, p in self.trained()}

    def load_trained(self, state: Dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained():
                parameter.copy_(state[published(name)])


def published(name: str) -> str:
    for own, theirs in (("bert.encoder.", "encoder."), ("decoder.", "decoder.layer."), ("transform.", "cls.predictions.transform.")):
        if name.startswith(own):
            return theirs + name[len(own) :]
    return {"bias": "cls.predictions.bias", "mention": "mention", "copied": "copied"}[name]
