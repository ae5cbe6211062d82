"""Contrastive losses over vectors of length 1.

`queries` is [q, d]. `documents` is [n, d]; `gold[i]` is the row of query i's answer.
`usable` is [q, n], False where a document may not count as a negative of a query (judged
relevant, or a copy of the answer); the answer itself always counts.
"""

from __future__ import annotations

from typing import Dict, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .pooling import normalised


def mixed_negatives(
    documents: Tensor, negatives: Tensor, weight: Tensor, generator: Optional[torch.Generator] = None
) -> Tensor:
    """Online hard-negative mixing (KaLM-Embedding-V2): lambda n_j + (1 - lambda) n_k, normalised.

    `negatives` is [q, m] rows of `documents`, each query's hard negatives; every one is mixed
    with another of the same query by `weight` [q, m]. Returns [q, m, d].
    """
    rows = documents[negatives]
    count = negatives.shape[1]
    if count < 2:
        return rows[:, :0]
    step = torch.randint(1, count, (1,), generator=generator).item()
    others = rows.roll(int(step), dims=1)
    weight = weight.unsqueeze(-1)
    return normalised(weight * rows + (1 - weight) * others)


def beta_weights(shape: Sequence[int], generator: torch.Generator, a: int = 2) -> Tensor:
    """Beta(a, a) for a whole number a: the a-th smallest of 2a - 1 uniform draws."""
    draws = torch.rand((*shape, 2 * a - 1), generator=generator)
    return draws.sort(-1).values[..., a - 1]


def info_nce(
    queries: Tensor,
    documents: Tensor,
    gold: Tensor,
    usable: Tensor,
    temperature: float = 0.05,
    focal: float = 0.0,
    extra: Optional[Tensor] = None,
    weights: Optional[Tensor] = None,
) -> Tensor:
    """-log p(answer), over the answer and the usable documents.

    `focal` is gamma of w = (1 - p)^gamma (KaLM-Embedding-V2), taken without gradient. `extra`
    [q, m, d] are further negatives of each query. `weights` [q] weigh the queries.
    """
    logits = queries @ documents.T / temperature
    answer = F.one_hot(gold, len(documents)).bool()
    logits = logits.masked_fill(~(usable | answer), float("-inf"))
    if extra is not None and extra.shape[1]:
        logits = torch.cat([logits, torch.einsum("qd,qmd->qm", queries, extra) / temperature], dim=1)
    losses = F.cross_entropy(logits, gold, reduction="none")
    if focal:
        losses = losses * (1 - torch.exp(-losses.detach())).clamp_min(0) ** focal
    if weights is not None:
        return (losses * weights).sum() / weights.sum().clamp_min(1e-6)
    return losses.mean()


def distillation(
    queries: Tensor, documents: Tensor, teacher: Tensor, usable: Optional[Tensor] = None, temperature: float = 0.05
) -> Tensor:
    """KL(teacher || student) over the documents of a batch.

    `teacher` is [q, n] log-scores, already divided by the teacher's temperature.
    """
    logits = queries @ documents.T / temperature
    if usable is not None:
        logits = logits.masked_fill(~usable, -1e4)
        teacher = teacher.masked_fill(~usable, -1e4)
    return F.kl_div(F.log_softmax(logits, 1), F.log_softmax(teacher, 1), log_target=True, reduction="batchmean")


def over_dimensions(loss, queries: Tensor, documents: Tensor, dimensions: Dict[int, float]) -> Tensor:
    """Matryoshka (Kusupati et al. 2022): the loss over the first values of every vector, each
    scaled to length 1 again, weighted and averaged. `dimensions` maps how many to a weight."""
    total = sum(dimensions.values())
    parts = []
    for size, weight in dimensions.items():
        cut = size < queries.shape[1]
        q = normalised(queries[:, :size]) if cut else queries
        d = normalised(documents[:, :size]) if cut else documents
        parts.append(weight / total * loss(q, d))
    return torch.stack(parts).sum()
