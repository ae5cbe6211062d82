"""Poolings: from token states to one vector of length 1 a text.

`states` is [batch, tokens, hidden]; `mask` is [batch, tokens], 1 for what is pooled: neither
padding nor the tokens of an instruction, which take part in the attention and are left out
here (NV-Embed, arXiv 2405.17428).
"""

from __future__ import annotations

from typing import Dict, List, Optional, Type

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Takes the place of 0 where a length is divided by.
TINY = 1e-12


def normalised(vectors: Tensor) -> Tensor:
    """To length 1; a vector of zeros stays one."""
    return vectors / vectors.pow(2).sum(-1, keepdim=True).clamp_min(TINY).sqrt()


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1).clamp_min(1.0)


class Pooling(nn.Module):
    """The last layer's states to a vector. `layers` counts the layers whose states it takes."""

    #: Name as the service's manifests have it.
    name = ""
    #: Takes one mean a layer, [batch, layers, hidden], where the others take token states.
    multi_layer = False

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return normalised(self.pooled(states, mask))


class Mean(Pooling):
    name = "mean"

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(states, mask)


class First(Pooling):
    name = "cls"

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        place = mask.to(torch.int64).argmax(1)
        return states[torch.arange(len(states), device=states.device), place]


class Last(Pooling):
    name = "last"

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(mask.shape[1], device=states.device)
        place = (mask.to(torch.int64) * places).argmax(1)
        return states[torch.arange(len(states), device=states.device), place]


class WeightedMean(Pooling):
    """Weights 1, 2, 3, ... over the tokens that are pooled (SGPT, Muennighoff 2022)."""

    name = "weighted_mean"

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        weights = (mask.cumsum(1) * mask).to(states.dtype).unsqueeze(-1)
        return (states * weights).sum(1) / weights.sum(1).clamp_min(1.0)


class GatedFeedForward(nn.Module):
    """Linear d -> 8d, GEGLU, Linear 4d -> d."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, 8 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(value * F.gelu(gate))


class CrossAttention(nn.Module):
    """Multi-head attention of `x` on `context`, both [batch or 1, length, hidden]."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden, bias=False)
        self.output = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def split(t: Tensor) -> Tensor:
            return t.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(context)), split(self.value(context))
        scale = query.shape[-1] ** -0.5
        weights = torch.softmax(query @ key.transpose(-1, -2) * scale, dim=-1)
        return self.output((weights @ value).transpose(1, 2).flatten(-2))


class LatentAttention(Pooling):
    """NV-Embed (arXiv 2405.17428, section 3.1): tokens attend to trainable latents.

    x = CrossAttn(LN(x), LN(latents)) + x; x = FF(LN(x)) + x; masked mean. What each branch
    adds begins as nothing, so that training starts from the mean of the states.
    """

    name = "latent_attention"

    def __init__(self, hidden: int, latents: int = 512, heads: int = 8) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, hidden) * 0.02)
        self.norm_tokens = nn.LayerNorm(hidden)
        self.norm_latents = nn.LayerNorm(hidden)
        self.attention = CrossAttention(hidden, heads)
        self.norm_feed = nn.LayerNorm(hidden)
        self.feed = GatedFeedForward(hidden)
        nn.init.zeros_(self.attention.output.weight)
        nn.init.zeros_(self.feed.down.weight)
        nn.init.zeros_(self.feed.down.bias)

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        context = self.norm_latents(self.latents).unsqueeze(0)
        x = self.attention(self.norm_tokens(states), context) + states
        x = self.feed(self.norm_feed(x)) + x
        return masked_mean(x, mask)


class MultiLayer(Pooling):
    """Multi-layers trainable pooling (arXiv 2409.02727): latents attend to one vector a layer.

    The layers' masked means, each with a trainable embedding of its layer, are keys and values;
    the latents are queries; residual; GEGLU feed-forward; residual; mean over the latents.
    Begins as the plain mean over the layers: values and output start as the identity and
    the feed-forward adds nothing.
    """

    name = "multi_layer"
    multi_layer = True

    def __init__(self, hidden: int, layers: int, latents: int = 16, heads: int = 8) -> None:
        super().__init__()
        self.layer_embedding = nn.Parameter(torch.zeros(layers, hidden))
        self.latents = nn.Parameter(torch.randn(latents, hidden) * 0.02)
        self.attention = CrossAttention(hidden, heads)
        self.feed = GatedFeedForward(hidden)
        nn.init.eye_(self.attention.value.weight)
        nn.init.eye_(self.attention.output.weight)
        nn.init.zeros_(self.feed.down.weight)
        nn.init.zeros_(self.feed.down.bias)

    def pooled(self, states: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """`states` is [batch, layers, hidden]: the masked mean of every layer, first to last."""
        context = states + self.layer_embedding
        x = self.latents.unsqueeze(0).expand(len(states), -1, -1)
        x = self.attention(x, context) + x
        x = self.feed(x) + x
        return x.mean(1)


PLAIN: Dict[str, Type[Pooling]] = {p.name: p for p in (Mean, First, Last, WeightedMean)}
NAMES: List[str] = [*PLAIN, LatentAttention.name, MultiLayer.name]


def make(name: str, hidden: int, layers: int, latents: Optional[int] = None, heads: int = 8) -> Pooling:
    """The pooling of that name; `layers` counts the states a model has, embeddings included."""
    if name in PLAIN:
        return PLAIN[name]()
    if name == LatentAttention.name:
        return LatentAttention(hidden, latents or 512, heads)
    if name == MultiLayer.name:
        return MultiLayer(hidden, layers, latents or 16, heads)
    raise ValueError(f"no pooling is called {name}; there are {', '.join(NAMES)}")


def pool(pooling: Pooling, states: List[Tensor], mask: Tensor) -> Tensor:
    """Vectors of length 1 from the states of all layers, first to last."""
    if pooling.multi_layer:
        return pooling(torch.stack([masked_mean(s, mask) for s in states], dim=1), mask)
    return pooling(states[-1], mask)
