"""Pairwise losses and the coupled weights (CET, arXiv 2209.05072)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pairwise(scores: Tensor) -> Tensor:
    """Cross-entropy of [relevant, other] for each other, [queries, negatives], from scores
    [queries, 1 + negatives] with the relevant text's first."""
    return F.softplus(scores[:, 1:] - scores[:, :1])


def coupled_weights(other: Tensor, tau: float, largest: float) -> Tensor:
    """1 / (1 - sigmoid(s / tau)) of the other model's scores of the negatives, at most `largest`.
    No gradient passes. It equals 1 + exp(s / tau), which does not divide by what rounds to zero."""
    return (1 + torch.exp((other.detach() / tau).clamp(max=80.0))).clamp(max=largest)


def weighted(losses: Tensor, weights: Tensor) -> Tensor:
    """Mean of weight times loss, over queries and negatives."""
    return (weights * losses).mean()


def distance(scores: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from the teacher's distribution over each list, mean over the
    queries; both [queries, texts], the teacher's scores divided by `temperature`."""
    target = torch.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(torch.log_softmax(scores, dim=1), target, log_target=True, reduction="batchmean")
