"""ONNX graphs of the encoder and of the poolings, written operator by operator.

Nothing is traced: the graphs hold the operators named here and take any batch and any length.
Opset 17; inputs and outputs are described in training/README.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .model import Shape

OPSET = 17
#: Added to the attention where there is padding.
NEVER = np.float32(-1e9)


def quantised(weight: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
    """int8 with one scale a row: `weight[r]` is about `integers[r] * scales[r]`."""
    largest = np.abs(weight).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    return np.clip(np.rint(weight / scales[:, None]), -127, 127).astype(np.int8), scales


class Writer:
    """Collects nodes and weights; every method returns the name of what it made."""

    def __init__(self, weights: Dict[str, np.ndarray], integers: bool = False) -> None:
        self.weights = weights
        self.integers = integers
        self.nodes: List[onnx.NodeProto] = []
        self.initializers: List[onnx.TensorProto] = []
        self._made: Dict[str, str] = {}

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: object, kind: type = np.float32) -> str:
        array = np.asarray(value, dtype=kind)
        key = f"{kind.__name__}{array.tolist()}"
        if key not in self._made:
            self._made[key] = f"constant_{len(self._made)}"
            self.initializers.append(numpy_helper.from_array(array, self._made[key]))
        return self._made[key]

    def weight(self, name: str) -> str:
        if name not in self._made:
            self._made[name] = name
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(self.weights[name], dtype=np.float32), name))
        return name

    def matrix(self, name: str) -> str:
        """A weight [outputs, inputs], transposed for a product from the right."""
        made = self._made.get(f"{name}.T")
        if made is None:
            if self.integers:
                integers, scales = quantised(self.weights[name])
                self.initializers.append(numpy_helper.from_array(integers, name))
                self.initializers.append(numpy_helper.from_array(scales, f"{name}.scale"))
                made = self.op("Transpose", self.op("DequantizeLinear", name, f"{name}.scale", axis=0), perm=[1, 0])
            else:
                made = f"{name}.T"
                array = np.ascontiguousarray(self.weights[name].T, dtype=np.float32)
                self.initializers.append(numpy_helper.from_array(array, made))
            self._made[f"{name}.T"] = made
        return made

    def linear(self, x: str, name: str) -> str:
        product = self.op("MatMul", x, self.matrix(f"{name}.weight"))
        return self.op("Add", product, self.weight(f"{name}.bias")) if f"{name}.bias" in self.weights else product

    def norm(self, x: str, name: str, epsilon: float) -> str:
        return self.op("LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        erf = self.op("Erf", self.op("Mul", x, self.constant(2**-0.5)))
        return self.op("Mul", self.op("Mul", x, self.constant(0.5)), self.op("Add", erf, self.constant(1.0)))

    def heads(self, x: str, heads: int, size: int) -> str:
        """[batch, length, hidden] to [batch, heads, length, size]."""
        split = self.op("Reshape", x, self.constant([0, 0, heads, size], np.int64))
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def attention(self, query: str, key: str, value: str, heads: int, hidden: int, bias: Optional[str]) -> str:
        size = hidden // heads
        query, key, value = (self.heads(part, heads, size) for part in (query, key, value))
        scores = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        scores = self.op("Mul", scores, self.constant(size**-0.5))
        if bias:
            scores = self.op("Add", scores, bias)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        joined = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.op("Reshape", joined, self.constant([0, 0, hidden], np.int64))

    def masked_mean(self, states: str, mask: str, axis: int) -> str:
        """Mean over `axis`; `mask` has the shape of the states with 1 in the last place."""
        axes = self.constant([axis], np.int64)
        total = self.op("ReduceSum", self.op("Mul", states, mask), axes, keepdims=0)
        count = self.op("ReduceSum", mask, axes, keepdims=0)
        return self.op("Div", total, self.op("Max", count, self.constant(1.0)))

    def unit(self, x: str, output: str) -> None:
        squares = self.op("ReduceSum", self.op("Mul", x, x), self.constant([-1], np.int64), keepdims=1)
        length = self.op("Sqrt", self.op("Max", squares, self.constant(1e-12)))
        self.nodes.append(helper.make_node("Div", [x, length], [output]))

    def model(self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto], opset: int = OPSET) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="gleaner-training")
        # What ONNX Runtime has read since 1.12.
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def tokens_info(name: str, *more: object, kind: int = TensorProto.INT64) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *more])


def bert_states(w: Writer, shape: Shape, prefix: str = "", types: Optional[str] = None) -> List[str]:
    """States of `input_ids` and `attention_mask`, after the embeddings and every layer; `types`
    names the input with the token types, all 0 without it."""
    length = w.op("Gather", w.op("Shape", "input_ids"), w.constant(1, np.int64), axis=0)
    end = w.op("Unsqueeze", length, w.constant([0], np.int64))
    start, axes = w.constant([0], np.int64), w.constant([0], np.int64)
    places = w.op("Slice", w.weight(f"{prefix}embeddings.position_embeddings.weight"), start, end, axes)
    kinds = f"{prefix}embeddings.token_type_embeddings.weight"
    kind = w.op("Gather", w.weight(kinds), types, axis=0) if types else w.constant(w.weights[kinds][0])
    words = w.op("Gather", w.weight(f"{prefix}embeddings.word_embeddings.weight"), "input_ids", axis=0)
    x = w.op("Add", words, w.op("Add", places, kind))
    x = w.norm(x, f"{prefix}embeddings.LayerNorm", shape.epsilon)
    hidden_tokens = w.op("Sub", w.constant(1.0), w.op("Cast", "attention_mask", to=TensorProto.FLOAT))
    bias = w.op("Mul", w.op("Unsqueeze", hidden_tokens, w.constant([1, 2], np.int64)), w.constant(NEVER))
    states = [x]
    for index in range(shape.layers):
        name = f"{prefix}encoder.layer.{index}."
        parts = (w.linear(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        mixed = w.attention(*parts, heads=shape.heads, hidden=shape.hidden, bias=bias)
        x = w.op("Add", w.linear(mixed, f"{name}attention.output.dense"), x)
        x = w.norm(x, f"{name}attention.output.LayerNorm", shape.epsilon)
        up = w.gelu(w.linear(x, f"{name}intermediate.dense"))
        x = w.op("Add", w.linear(up, f"{name}output.dense"), x)
        x = w.norm(x, f"{name}output.LayerNorm", shape.epsilon)
        states.append(x)
    return states


def feed(w: Writer, x: str, prefix: str, hidden: int) -> str:
    up = w.linear(x, f"{prefix}feed.up")
    half = w.constant([4 * hidden, 4 * hidden], np.int64)
    names = [f"{up}_value", f"{up}_gate"]
    w.nodes.append(helper.make_node("Split", [up, half], names, axis=-1))
    return w.linear(w.op("Mul", names[0], w.gelu(names[1])), f"{prefix}feed.down")


def latent_attention(w: Writer, states: str, mask: str, hidden: int, heads: int, prefix: str = "") -> None:
    """`vectors` from [batch, tokens, hidden] and [batch, tokens, 1]."""
    epsilon = 1e-5
    context = w.op("Unsqueeze", w.weight(f"{prefix}latents"), w.constant([0], np.int64))
    context = w.norm(context, f"{prefix}norm_latents", epsilon)
    tokens = w.norm(states, f"{prefix}norm_tokens", epsilon)
    parts = (
        w.linear(tokens, f"{prefix}attention.query"),
        w.linear(context, f"{prefix}attention.key"),
        w.linear(context, f"{prefix}attention.value"),
    )
    mixed = w.attention(*parts, heads=heads, hidden=hidden, bias=None)
    x = w.op("Add", w.linear(mixed, f"{prefix}attention.output"), states)
    x = w.op("Add", feed(w, w.norm(x, f"{prefix}norm_feed", epsilon), prefix, hidden), x)
    w.unit(w.masked_mean(x, mask, axis=1), "vectors")


def multi_layer(w: Writer, means: str, hidden: int, heads: int, prefix: str = "") -> None:
    """`vectors` from the layers' means, [batch, layers, hidden]."""
    context = w.op("Add", means, w.weight(f"{prefix}layer_embedding"))
    latents = w.op("Unsqueeze", w.weight(f"{prefix}latents"), w.constant([0], np.int64))
    parts = (
        w.linear(latents, f"{prefix}attention.query"),
        w.linear(context, f"{prefix}attention.key"),
        w.linear(context, f"{prefix}attention.value"),
    )
    # The latents are one row for every text of the batch: the product with the keys spreads them.
    mixed = w.attention(*parts, heads=heads, hidden=hidden, bias=None)
    x = w.op("Add", w.linear(mixed, f"{prefix}attention.output"), latents)
    x = w.op("Add", feed(w, x, prefix, hidden), x)
    w.unit(w.op("ReduceMean", x, axes=[1], keepdims=0), "vectors")


def column(w: Writer, mask: str, axes: Sequence[int]) -> str:
    return w.op("Unsqueeze", w.op("Cast", mask, to=TensorProto.FLOAT), w.constant(list(axes), np.int64))


def head(name: str, weights: Dict[str, np.ndarray], hidden: int, layers: int, heads: int = 8, integers: bool = False) -> onnx.ModelProto:
    """A pooling alone. Latent attention takes `token_states` [batch, tokens, hidden], the
    multi-layer one `layer_states` [batch, layers, tokens, hidden]; both `pooling_mask`
    [batch, tokens], 0 for padding and for instructions."""
    w = Writer(weights, integers)
    if name == "latent_attention":
        states = tokens_info("token_states", "tokens", hidden, kind=TensorProto.FLOAT)
        latent_attention(w, "token_states", column(w, "pooling_mask", [-1]), hidden, heads)
    elif name == "multi_layer":
        states = tokens_info("layer_states", layers, "tokens", hidden, kind=TensorProto.FLOAT)
        multi_layer(w, w.masked_mean("layer_states", column(w, "pooling_mask", [1, 3]), axis=2), hidden, heads)
    else:
        raise ValueError(f"{name} is arithmetic and has no graph of its own")
    vectors = tokens_info("vectors", hidden, kind=TensorProto.FLOAT)
    return w.model(name, [states, tokens_info("pooling_mask", "tokens")], [vectors])


def fused(
    name: str,
    bert: Dict[str, np.ndarray],
    shape: Shape,
    pooling: Optional[Dict[str, np.ndarray]] = None,
    heads: int = 8,
    integers: bool = False,
) -> onnx.ModelProto:
    """Encoder and pooling in one: `input_ids`, `attention_mask`, `pooling_mask` to `vectors`."""
    weights = {**bert, **{f"pooling.{key}": value for key, value in (pooling or {}).items()}}
    w = Writer(weights, integers)
    states = bert_states(w, shape)
    mask = column(w, "pooling_mask", [-1])
    if name == "latent_attention":
        latent_attention(w, states[-1], mask, shape.hidden, heads, "pooling.")
    elif name == "multi_layer":
        means = [w.op("Unsqueeze", w.masked_mean(s, mask, axis=1), w.constant([1], np.int64)) for s in states]
        multi_layer(w, w.op("Concat", *means, axis=1), shape.hidden, heads, "pooling.")
    elif name == "mean":
        w.unit(w.masked_mean(states[-1], mask, axis=1), "vectors")
    else:
        raise ValueError(f"{name} is arithmetic: serve it with the encoder's own graph")
    inputs = [tokens_info(key, "tokens") for key in ("input_ids", "attention_mask", "pooling_mask")]
    return w.model("encoder", inputs, [tokens_info("vectors", shape.hidden, kind=TensorProto.FLOAT)])


def save(model: onnx.ModelProto, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
