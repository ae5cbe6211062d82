"""The graph part: FAConv, ASTGPool, read-outs, and the gate that adds it to the encoder's embedding.

GNN-Coder (arXiv 2502.15202), with FAGCN's convolution (arXiv 2101.00797). Graphs of a batch are put
one after the other and the numbers of their nodes shifted, so that nothing is padded and a vector does
not depend on what shares its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What a pooling scores nodes by. `none` keeps all of them: the read-out alone pools.
POOLINGS = ("ast", "learned", "mean", "max")


@dataclass
class Batch:
    """Graphs one after the other."""

    nodes: Tensor
    """Mean states of the tokens of each node, f32 [nodes, hidden]."""
    kinds: Tensor
    """Types, int64 [nodes]."""
    parents: Tensor
    """Places of the parents in this list, int64 [nodes]; a root's is its own."""
    children: Tensor
    """Numbers of children, f32 [nodes]."""
    graph: Tensor
    """Which graph each belongs to, int64 [nodes], ascending."""
    embeddings: Tensor
    """Mean states of all tokens, f32 [graphs, hidden]."""

    def __len__(self) -> int:
        return self.embeddings.shape[0]


def batch_of(places: Sequence[int], kept, graphs, graph: bool = True) -> Batch:
    """Of these functions; with embeddings alone where no `graph` is wanted."""
    if not graph:
        none = torch.empty(0)
        return Batch(none, none, none, none, none, torch.from_numpy(kept.embeddings[list(places)]))
    sizes = np.array([len(graphs.kinds[place]) for place in places])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    parents = np.concatenate([graphs.parents[place] + start for place, start in zip(places, starts)])
    return Batch(
        nodes=torch.from_numpy(np.concatenate([kept.nodes[place] for place in places]).astype(np.float32)),
        kinds=torch.from_numpy(np.concatenate([graphs.kinds[place] for place in places]).astype(np.int64)),
        parents=torch.from_numpy(parents.astype(np.int64)),
        children=torch.from_numpy(np.concatenate([graphs.children[place] for place in places]).astype(np.float32)),
        graph=torch.from_numpy(np.repeat(np.arange(len(places)), sizes)),
        embeddings=torch.from_numpy(kept.embeddings[list(places)]),
    )


class FAConv(nn.Module):
    """x'_i = eps x0_i + sum over j of tanh(l x_j + r x_i) / sqrt(d_i d_j) x_j, over the children j of
    i and i itself (and its parent, with edges `both` ways)."""

    def __init__(self, width: int, epsilon: float = 0.1, both: bool = False) -> None:
        super().__init__()
        self.epsilon, self.both = epsilon, both
        self.left = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.right = nn.Parameter(torch.randn(width) / math.sqrt(width))
        if both:
            self.down = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, x: Tensor, first: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edges from `source` to `target`, int64 [edges]: a child and its parent."""
        degree = torch.ones_like(x[:, 0]).index_add(0, target, torch.ones_like(target, dtype=x.dtype))
        if self.both:
            degree = degree.index_add(0, source, torch.ones_like(source, dtype=x.dtype))
        scale = degree.rsqrt()
        left, right = x @ self.left, x @ self.right
        own = torch.tanh(left + right) / degree
        weight = torch.tanh(rows(left, source) + rows(right, target)) * scale[source] * scale[target]
        found = self.epsilon * first + own[:, None] * x
        found = found.index_add(0, target, weight[:, None] * rows(x, source))
        if self.both:
            down = x @ self.down
            weight = torch.tanh(rows(down, target) + rows(right, source)) * scale[source] * scale[target]
            found = found.index_add(0, source, weight[:, None] * rows(x, target))
        return found


def largest(x: Tensor, graph: Tensor, graphs: int) -> Tensor:
    return torch.segment_reduce(x, "max", lengths=torch.bincount(graph, minlength=graphs), axis=0)


def average(x: Tensor, graph: Tensor, graphs: int) -> Tensor:
    return torch.segment_reduce(x, "mean", lengths=torch.bincount(graph, minlength=graphs), axis=0)


def rows(x: Tensor, places: Tensor) -> Tensor:
    """x[places], whose gradient is several times as quick as that of the brackets."""
    return torch.index_select(x, 0, places)


class Pool(nn.Module):
    """ASTGPool: the ceil(ratio n) nodes of each graph with the highest b1 X p + b2 children; `learned`
    leaves the children out. What is kept is weighted by the score, so that p learns."""

    def __init__(self, width: int, ratio: float, by_children: bool) -> None:
        super().__init__()
        self.ratio, self.by_children = ratio, by_children
        self.direction = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.weights = nn.Parameter(torch.tensor([1.0, 0.1 if by_children else 0.0]), requires_grad=by_children)

    def forward(self, x: Tensor, children: Tensor, graph: Tensor, graphs: int) -> Tuple[Tensor, Tensor]:
        """Places that are kept, ascending, and their scores."""
        score = self.weights[0] * (x @ self.direction)
        if self.by_children:
            score = score + self.weights[1] * children
        kept = top(score.detach(), graph, graphs, self.ratio)
        return kept, rows(score, kept)


def shares(score: Tensor, graph: Tensor, graphs: int) -> Tensor:
    """The softmax of scores within each graph, [nodes]. Scores are bounded, so that none is without
    a share."""
    weight = torch.exp(10 * torch.tanh(score / 10))
    total = score.new_zeros(graphs).index_add(0, graph, weight)
    return weight / rows(total, graph)


def top(score: Tensor, graph: Tensor, graphs: int, ratio: float) -> Tensor:
    """Places of the ceil(ratio n) best of each graph, ascending; of equal ones the first."""
    order = torch.sort(score, descending=True, stable=True).indices
    order = order[torch.sort(graph[order], stable=True).indices]
    sizes = torch.bincount(graph, minlength=graphs)
    starts = torch.cumsum(sizes, 0) - sizes
    rank = torch.arange(len(order)) - starts[graph[order]]
    most = torch.ceil(sizes * ratio - 1e-6)
    return order[rank < most[graph[order]]].sort().values


class GraphCoder(nn.Module):
    def __init__(
        self,
        hidden: int,
        vocabulary: int,
        width: int = 128,
        layers: int = 3,
        ratio: float = 0.5,
        pooling: str = "ast",
        dropout: float = 0.1,
        both: bool = False,
        gate: str = "dimensions",
        graph: bool = True,
    ) -> None:
        super().__init__()
        self.hidden, self.pooling, self.dropout = hidden, pooling, dropout
        self.project = nn.Linear(hidden, hidden)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.with_graph = graph
        if not graph:
            return
        self.enter = nn.Linear(hidden, width)
        self.kind = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.kind.weight, std=0.1)
        self.convolutions = nn.ModuleList(FAConv(width, both=both) for _ in range(layers))
        selects = pooling in ("ast", "learned")
        self.pools = nn.ModuleList(Pool(width, ratio, pooling == "ast") for _ in range(layers)) if selects else None
        self.levels = nn.Parameter(torch.full((layers if selects else 1,), 1.0))
        self.gru = nn.GRU(width, width, batch_first=True)
        self.leave = nn.Linear(width, hidden)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.gate = nn.Linear(hidden, hidden) if gate == "input" else nn.Parameter(torch.full((hidden,), 0.0))

    def forward(self, batch: Batch) -> Tensor:
        """Vectors of length 1, [graphs, hidden]."""
        embedding = F.normalize(batch.embeddings, dim=-1)
        plain = self.project(embedding)
        if not self.with_graph:
            return F.normalize(plain, dim=-1)
        graph = F.normalize(self.read(batch), dim=-1)
        share = torch.sigmoid(self.gate(embedding) if isinstance(self.gate, nn.Module) else self.gate)
        return F.normalize(share * graph + (1 - share) * plain, dim=-1)

    def read(self, batch: Batch) -> Tensor:
        """What the read-outs of all layers come to, [graphs, hidden]: maxima through the GRU, and beside
        them, in the encoder's own space, the states of the nodes that each pooling kept, weighted by
        their scores."""
        count = len(batch)
        x = F.gelu(self.enter(batch.nodes) + F.embedding(batch.kinds, self.kind.weight))
        x = F.dropout(x, self.dropout, self.training)
        first, graph, children, own = x, batch.graph, batch.children, torch.arange(len(x))
        source, target = own[batch.parents != own], batch.parents[batch.parents != own]
        outs, weights = [], torch.zeros(len(x))
        readout = average if self.pooling == "mean" else largest
        for number, convolution in enumerate(self.convolutions):
            x = F.dropout(F.relu(convolution(x, first, source, target)), self.dropout, self.training)
            outs.append(readout(x, graph, count))
            if self.pools is None:
                continue
            kept, score = self.pools[number](x, children, graph, count)
            now = torch.full((len(x),), -1)
            now[kept] = torch.arange(len(kept))
            source, target = now[source], now[target]
            both = (source >= 0) & (target >= 0)
            source, target = source[both], target[both]
            x, first = rows(x, kept) * torch.sigmoid(score)[:, None] * 2, rows(first, kept)
            graph, children, own = graph[kept], children[kept], own[kept]
            weights = weights.index_add(0, own, self.levels[number] * shares(score, graph, count))
        length = batch.embeddings.norm(dim=-1, keepdim=True)
        if self.pools is not None:
            told = torch.segment_reduce(
                batch.nodes * weights[:, None], "sum", lengths=torch.bincount(batch.graph, minlength=count), axis=0
            )
        else:
            told = self.levels[0] * readout(batch.nodes, batch.graph, count)
        return self.leave(self.gru(torch.stack(outs, dim=1))[1][0]) + self.project(told / length)
