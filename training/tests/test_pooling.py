"""Every pooling against plain numpy; padding and instructions never count."""

from __future__ import annotations

import unittest

import numpy as np
import torch
from scipy.special import erf, softmax

from encoders.pooling import NAMES, LatentAttention, MultiLayer, make, masked_mean

from .support import states

HIDDEN, LAYERS = 32, 3


def shaken(pooling: torch.nn.Module) -> torch.nn.Module:
    """Every parameter away from where it starts, so that no branch is silent."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return pooling


def made(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return shaken(make(name, HIDDEN, LAYERS, latents=5, heads=4)).eval()


def arrays(module: torch.nn.Module) -> dict:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def feed(x: np.ndarray, w: dict) -> np.ndarray:
    up = x @ w["feed.up.weight"].T + w["feed.up.bias"]
    value, gate = np.split(up, 2, axis=-1)
    gelu = gate * 0.5 * (1 + erf(gate / np.sqrt(2)))
    return (value * gelu) @ w["feed.down.weight"].T + w["feed.down.bias"]


def attend(x: np.ndarray, context: np.ndarray, w: dict, heads: int) -> np.ndarray:
    """One text: x [a, d], context [b, d]."""
    query = x @ w["attention.query.weight"].T
    key = context @ w["attention.key.weight"].T
    value = context @ w["attention.value.weight"].T
    size = x.shape[1] // heads
    parts = []
    for head in range(heads):
        cut = slice(head * size, (head + 1) * size)
        weights = softmax(query[:, cut] @ key[:, cut].T / np.sqrt(size), axis=1)
        parts.append(weights @ value[:, cut])
    return np.concatenate(parts, axis=1) @ w["attention.output.weight"].T


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


class Poolings(unittest.TestCase):
    def setUp(self) -> None:
        self.x, self.mask = states(hidden=HIDDEN)

    def expect(self, name: str, naive) -> None:
        with torch.no_grad():
            found = made(name)(self.x, self.mask).numpy()
        for row in range(len(self.x)):
            kept = self.x[row].double().numpy()[self.mask[row].bool().numpy()]
            np.testing.assert_allclose(found[row], unit(naive(kept)), atol=2e-6)

    def test_mean(self) -> None:
        self.expect("mean", lambda rows: rows.mean(0))

    def test_first(self) -> None:
        self.expect("cls", lambda rows: rows[0])

    def test_last(self) -> None:
        self.expect("last", lambda rows: rows[-1])

    def test_weighted_mean(self) -> None:
        def naive(rows: np.ndarray) -> np.ndarray:
            total = sum((i + 1) * row for i, row in enumerate(rows))
            return total / sum(range(1, len(rows) + 1))

        self.expect("weighted_mean", naive)

    def test_latent_attention(self) -> None:
        w = arrays(made("latent_attention"))

        def naive(rows: np.ndarray) -> np.ndarray:
            context = layer_norm(w["latents"], w["norm_latents.weight"], w["norm_latents.bias"])
            tokens = layer_norm(rows, w["norm_tokens.weight"], w["norm_tokens.bias"])
            x = attend(tokens, context, w, heads=4) + rows
            x = feed(layer_norm(x, w["norm_feed.weight"], w["norm_feed.bias"]), w) + x
            return x.mean(0)

        self.expect("latent_attention", naive)

    def test_multi_layer(self) -> None:
        pooling = made("multi_layer")
        w = arrays(pooling)
        means = torch.stack([states(hidden=HIDDEN, seed=layer)[0].mean(1) for layer in range(LAYERS)], dim=1)
        with torch.no_grad():
            found = pooling(means, self.mask).numpy()
        for row in range(len(means)):
            context = means[row].double().numpy() + w["layer_embedding"]
            x = attend(w["latents"], context, w, heads=4) + w["latents"]
            x = feed(x, w) + x
            np.testing.assert_allclose(found[row], unit(x.mean(0)), atol=2e-6)

    def test_padding_and_instructions_change_nothing(self) -> None:
        for name in NAMES:
            pooling = made(name)
            if pooling.multi_layer:
                continue
            with torch.no_grad():
                expected = pooling(self.x, self.mask)
                # Whatever stands where the mask is 0, in front (an instruction) or behind.
                noise = torch.full((len(self.x), 2, HIDDEN), 1e3)
                around = torch.cat([noise, self.x, noise], dim=1)
                nothing = torch.zeros(len(self.x), 2, dtype=torch.int64)
                mask = torch.cat([nothing, self.mask, nothing], dim=1)
                found = pooling(around, mask)
            np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)

    def test_means_of_layers_leave_padding_out(self) -> None:
        changed = self.x.masked_fill(~self.mask.bool().unsqueeze(-1), 1e3)
        np.testing.assert_allclose(masked_mean(changed, self.mask), masked_mean(self.x * self.mask.unsqueeze(-1), self.mask), atol=1e-6)

    def test_trained_poolings_begin_as_a_mean(self) -> None:
        mean = make("mean", HIDDEN, LAYERS)(self.x, self.mask)
        latent = LatentAttention(HIDDEN, latents=5, heads=4)(self.x, self.mask)
        np.testing.assert_allclose(latent.detach(), mean, atol=1e-6)
        layers = torch.stack([self.x[:, 0], self.x[:, 1], self.x[:, 2]], dim=1)
        pooled = MultiLayer(HIDDEN, LAYERS, latents=5, heads=4)
        pooled.latents.data.zero_()
        ones = torch.ones(len(layers), LAYERS, dtype=torch.int64)
        expected = make("mean", HIDDEN, LAYERS)(layers, ones)
        np.testing.assert_allclose(pooled(layers, ones).detach(), expected, atol=1e-6)

    def test_a_text_without_tokens_is_zeros(self) -> None:
        nothing = torch.zeros_like(self.mask)
        for name in ("mean", "weighted_mean"):
            self.assertEqual(float(made(name)(self.x, nothing).abs().max()), 0.0)

    def test_an_unknown_name_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "latent_attention"):
            make("median", HIDDEN, LAYERS)


if __name__ == "__main__":
    unittest.main()
