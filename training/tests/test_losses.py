"""The losses on cases small enough to work out by hand."""

from __future__ import annotations

import math
import unittest

import numpy as np
import torch

from encoders.losses import beta_weights, distillation, info_nce, mixed_negatives, over_dimensions

Q = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
D = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
GOLD = torch.tensor([0, 1])
ALL = torch.ones(2, 3, dtype=torch.bool)


def nce(*scores: float) -> float:
    """Of the first score against all."""
    return -math.log(math.exp(scores[0]) / sum(math.exp(s) for s in scores))


class Losses(unittest.TestCase):
    def test_contrast(self) -> None:
        found = info_nce(Q, D, GOLD, ALL, temperature=1.0)
        self.assertAlmostEqual(found.item(), (nce(1, 0, 0.6) + nce(1, 0, 0.8)) / 2, places=6)

    def test_the_temperature_divides(self) -> None:
        found = info_nce(Q, D, GOLD, ALL, temperature=0.5)
        self.assertAlmostEqual(found.item(), (nce(2, 0, 1.2) + nce(2, 0, 1.6)) / 2, places=6)

    def test_what_is_judged_relevant_is_no_negative(self) -> None:
        usable = torch.tensor([[False, True, False], [True, False, True]])
        found = info_nce(Q, D, GOLD, usable, temperature=1.0)
        self.assertAlmostEqual(found.item(), (nce(1, 0) + nce(1, 0, 0.8)) / 2, places=6)

    def test_focal_weights_favour_what_is_hard(self) -> None:
        easy, hard = nce(1, 0, 0.6), nce(1, 0, 0.8)
        expected = ((1 - math.exp(-easy)) ** 2 * easy + (1 - math.exp(-hard)) ** 2 * hard) / 2
        found = info_nce(Q, D, GOLD, ALL, temperature=1.0, focal=2.0)
        self.assertAlmostEqual(found.item(), expected, places=6)

    def test_the_focal_weight_has_no_gradient(self) -> None:
        q = Q.clone().requires_grad_()
        info_nce(q[:1], D, GOLD[:1], ALL[:1], temperature=1.0, focal=1.0).backward()
        with_weight = q.grad[0].clone()
        q.grad = None
        info_nce(q[:1], D, GOLD[:1], ALL[:1], temperature=1.0).backward()
        weight = 1 - math.exp(-nce(1, 0, 0.6))
        np.testing.assert_allclose(with_weight, q.grad[0] * weight, atol=1e-6)

    def test_mixed_negatives_lie_between(self) -> None:
        hard = torch.tensor([[1, 2], [0, 2]])
        weight = torch.full((2, 2), 0.5)
        found = mixed_negatives(D, hard, weight)
        between = (D[1] + D[2]) / (D[1] + D[2]).norm()
        np.testing.assert_allclose(found[0, 0], between, atol=1e-6)
        np.testing.assert_allclose(found.norm(dim=-1), torch.ones(2, 2), atol=1e-6)

    def test_one_negative_cannot_be_mixed(self) -> None:
        self.assertEqual(mixed_negatives(D, torch.tensor([[1], [0]]), torch.ones(2, 1)).shape[1], 0)

    def test_mixed_negatives_join_the_denominator(self) -> None:
        extra = torch.tensor([[[0.8, 0.6]], [[0.8, 0.6]]])
        found = info_nce(Q, D, GOLD, ALL, temperature=1.0, extra=extra)
        self.assertAlmostEqual(found.item(), (nce(1, 0, 0.6, 0.8) + nce(1, 0, 0.8, 0.6)) / 2, places=6)

    def test_the_mixing_weights_are_beta(self) -> None:
        draws = beta_weights((20_000,), torch.Generator().manual_seed(0))
        self.assertAlmostEqual(draws.mean().item(), 0.5, delta=0.01)
        self.assertAlmostEqual(draws.var().item(), 1 / 20, delta=0.002)

    def test_distillation_is_nothing_where_both_agree(self) -> None:
        self.assertAlmostEqual(distillation(Q, D, Q @ D.T, temperature=1.0).item(), 0.0, places=6)

    def test_distillation_by_hand(self) -> None:
        teacher = torch.zeros(1, 3)
        student = torch.log_softmax(Q[:1] @ D.T, 1)[0]
        expected = sum(1 / 3 * (math.log(1 / 3) - float(s)) for s in student)
        self.assertAlmostEqual(distillation(Q[:1], D, teacher, temperature=1.0).item(), expected, places=6)

    def test_distillation_over_some_documents(self) -> None:
        among = torch.tensor([[True, True, False]])
        far = torch.tensor([[0.0, 0.0, 9.0]])
        expected = distillation(Q[:1], D[:2], far[:, :2], temperature=1.0)
        found = distillation(Q[:1], D, far, among, temperature=1.0)
        self.assertAlmostEqual(found.item(), expected.item(), places=5)

    def test_over_dimensions_cuts_and_scales_again(self) -> None:
        q = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
        d = torch.tensor([[0.3, 0.4, 0.86603], [1.0, 0.0, 0.0]])
        seen = {}

        def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            seen[a.shape[1]] = (a, b)
            return torch.tensor(float(a.shape[1]))

        found = over_dimensions(loss, q, d, {3: 1.0, 2: 0.5})
        self.assertAlmostEqual(found.item(), (3 * 1.0 + 2 * 0.5) / 1.5, places=6)
        np.testing.assert_allclose(seen[2][0], [[1.0, 0.0], [0.0, 1.0]], atol=1e-6)
        np.testing.assert_allclose(seen[2][1], [[0.6, 0.8], [1.0, 0.0]], atol=1e-6)
        self.assertIs(seen[3][0], q)


if __name__ == "__main__":
    unittest.main()
