"""The graph part as ONNX, operator by operator: what `src/model/code.rs` runs.

Inputs: `token_states` f32 [texts, tokens, hidden] of texts of one length, and over the nodes of all their
graphs, one after the other, int64 [nodes]: `text`, `kind`, `parent`, `children`, `first`, `end`. Output:
`vectors` f32 [texts, hidden], of length 1. Weights are kept in f16 and computed with in f32.
"""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from encoders.graph import Writer

#: ScatterND has `max` since then.
OPSET = 18
LISTS = ("text", "kind", "parent", "children", "first", "end")


class Half(Writer):
    """Keeps weights in f16."""

    def weight(self, name: str) -> str:
        if name not in self._made:
            array = np.ascontiguousarray(self.weights[name], dtype=np.float16)
            self.initializers.append(numpy_helper.from_array(array, name))
            self._made[name] = self.op("Cast", name, to=TensorProto.FLOAT)
        return self._made[name]

    def matrix(self, name: str) -> str:
        if f"{name}.T" not in self._made:
            self._made[f"{name}.T"] = self.op("Transpose", self.weight(name), perm=[1, 0])
        return self._made[f"{name}.T"]

    def integers_of(self, value: object) -> str:
        return self.constant(value, np.int64)

    def rows(self, data: str, places: str) -> str:
        return self.op("Gather", data, places, axis=0)

    def column(self, x: str) -> str:
        return self.op("Unsqueeze", x, self.integers_of([1]))

    def add_rows(self, data: str, places: str, updates: str) -> str:
        return self.op("ScatterND", data, self.column(places), updates, reduction="add")

    def filled(self, count: str, value: float, kind: type = np.float32) -> str:
        tensor = numpy_helper.from_array(np.array([value], dtype=kind))
        return self.op("ConstantOfShape", count, value=tensor)

    def length(self, x: str) -> str:
        """[1], the size of the first axis."""
        return self.op("Slice", self.op("Shape", x), self.integers_of([0]), self.integers_of([1]))

    def count_to(self, length: str) -> str:
        whole = self.op("Squeeze", length, self.integers_of([0]))
        return self.op("Range", self.integers_of(0), whole, self.integers_of(1))

    def where(self, mask: str) -> str:
        return self.op("Squeeze", self.op("NonZero", mask), self.integers_of([0]))

    def dot(self, x: str, vector: str) -> str:
        """[nodes] of [nodes, width] and a weight [width]."""
        product = self.op("MatMul", x, self.column(self.weight(vector)))
        return self.op("Squeeze", product, self.integers_of([1]))

    def unit_length(self, x: str) -> str:
        squares = self.op("ReduceSum", self.op("Mul", x, x), self.integers_of([-1]), keepdims=1)
        return self.op("Div", x, self.op("Max", self.op("Sqrt", squares), self.constant(1e-12)))

    def sorted(self, x: str, largest: bool) -> str:
        """Places in order; of equal ones the first first."""
        name = f"topk_{len(self.nodes)}"
        made = helper.make_node("TopK", [x, self.length(x)], [f"{name}_values", name], axis=0, largest=int(largest), sorted=1)
        self.nodes.append(made)
        return name


class Spans:
    """Where the tokens of each node begin and end, in a list of all texts' tokens with a place more
    for each text."""

    def __init__(self, w: Half) -> None:
        shape = w.op("Shape", "token_states")
        self.tokens = w.op("Slice", shape, w.integers_of([1]), w.integers_of([2]))
        self.width = w.op("Add", self.tokens, w.integers_of([1]))
        before = w.op("Mul", "text", self.width)
        self.first, self.end = w.op("Add", before, "first"), w.op("Add", before, "end")
        covered = w.op("Max", w.op("Sub", "end", "first"), w.integers_of(1))
        self.count = w.op("Cast", covered, to=TensorProto.FLOAT)


def enter(w: Half, spans: Spans) -> str:
    """Nodes' first states: the mean over the tokens is taken behind the product, which is the same and
    costs a third."""
    entered = w.op("MatMul", "token_states", w.matrix("enter.weight"))
    sums = w.op("CumSum", entered, w.integers_of(1))
    sums = w.op("Pad", sums, w.integers_of([0, 1, 0, 0, 0, 0]))
    flat = w.op("Reshape", sums, w.integers_of([-1, w.weights["enter.weight"].shape[0]]))
    total = w.op("Sub", w.rows(flat, spans.end), w.rows(flat, spans.first))
    mean = w.op("Add", w.op("Div", total, w.column(spans.count)), w.weight("enter.bias"))
    return w.gelu(w.op("Add", mean, w.rows(w.weight("kind.weight"), "kind")))


def convolve(w: Half, name: str, x: str, first: str, source: str, target: str, epsilon: float, both: bool) -> str:
    ones, edges = w.filled(w.length(x), 1.0), w.filled(w.length(source), 1.0)
    degree = w.add_rows(ones, target, edges)
    if both:
        degree = w.add_rows(degree, source, edges)
    scale = w.op("Reciprocal", w.op("Sqrt", degree))
    left, right = w.dot(x, f"{name}left"), w.dot(x, f"{name}right")
    own = w.op("Div", w.op("Tanh", w.op("Add", left, right)), degree)
    found = w.op("Add", w.op("Mul", first, w.constant(epsilon)), w.op("Mul", w.column(own), x))
    scales = w.op("Mul", w.rows(scale, source), w.rows(scale, target))
    weight = w.op("Mul", w.op("Tanh", w.op("Add", w.rows(left, source), w.rows(right, target))), scales)
    found = w.add_rows(found, target, w.op("Mul", w.column(weight), w.rows(x, source)))
    if both:
        down = w.dot(x, f"{name}down")
        weight = w.op("Mul", w.op("Tanh", w.op("Add", w.rows(down, target), w.rows(right, source))), scales)
        found = w.add_rows(found, source, w.op("Mul", w.column(weight), w.rows(x, target)))
    return w.op("Relu", found)


def pool(w: Half, name: str, x: str, children: str, text: str, texts: str, ratio: float) -> Tuple[str, str]:
    """Places that are kept, ascending, and what their states are weighted by."""
    score = w.op("Mul", w.dot(x, f"{name}direction"), w.constant(w.weights[f"{name}weights"][0]))
    score = w.op("Add", score, w.op("Mul", children, w.constant(w.weights[f"{name}weights"][1])))
    order = w.sorted(score, largest=True)
    order = w.rows(order, w.sorted(w.rows(text, order), largest=False))
    sizes = w.add_rows(w.filled(texts, 0, np.int64), text, w.filled(w.length(x), 1, np.int64))
    starts = w.op("CumSum", sizes, w.integers_of(0), exclusive=1)
    of = w.rows(text, order)
    rank = w.op("Sub", w.count_to(w.length(x)), w.rows(starts, of))
    most = w.op("Mul", w.op("Cast", sizes, to=TensorProto.FLOAT), w.constant(ratio))
    most = w.op("Ceil", w.op("Sub", most, w.constant(1e-6)))
    inside = w.op("Less", w.op("Cast", rank, to=TensorProto.FLOAT), w.rows(most, of))
    kept = w.rows(order, w.where(inside))
    kept = w.rows(kept, w.sorted(kept, largest=False))
    return kept, w.rows(score, kept)


def shares(w: Half, score: str, text: str, texts: str) -> str:
    """The softmax of scores within each graph."""
    bounded = w.op("Tanh", w.op("Mul", score, w.constant(0.1)))
    weight = w.op("Exp", w.op("Mul", bounded, w.constant(10.0)))
    total = w.add_rows(w.filled(texts, 0.0), text, weight)
    return w.op("Div", weight, w.rows(total, text))


def told(w: Half, spans: Spans, weights: str, texts: str) -> str:
    """The sum of the nodes' mean states, weighted: of the tokens' states, each with what the nodes that
    cover it give it."""
    each = w.op("Div", weights, spans.count)
    steps = w.filled(w.op("Mul", texts, spans.width), 0.0)
    steps = w.add_rows(w.add_rows(steps, spans.first, each), spans.end, w.op("Neg", each))
    shape = w.op("Concat", texts, spans.width, axis=0)
    of_tokens = w.op("CumSum", w.op("Reshape", steps, shape), w.integers_of(1))
    of_tokens = w.op("Slice", of_tokens, w.integers_of([0]), spans.tokens, w.integers_of([1]))
    one = w.integers_of([1])
    return w.op("Squeeze", w.op("MatMul", w.op("Unsqueeze", of_tokens, one), "token_states"), one)


def recur(w: Half, outs: "list[str]", width: int) -> str:
    """A GRU's last state."""
    state = None
    thirds = w.integers_of([width, width, width])

    def parts(x: str) -> "list[str]":
        names = [f"{x}_{n}" for n in range(3)]
        w.nodes.append(helper.make_node("Split", [x, thirds], names, axis=-1))
        return names

    for x in outs:
        given = parts(w.op("Add", w.op("MatMul", x, w.matrix("gru.weight_ih_l0")), w.weight("gru.bias_ih_l0")))
        bias = w.weight("gru.bias_hh_l0")
        told = bias if state is None else w.op("Add", w.op("MatMul", state, w.matrix("gru.weight_hh_l0")), bias)
        told_parts = parts(w.op("Identity", told))
        reset = w.op("Sigmoid", w.op("Add", given[0], told_parts[0]))
        update = w.op("Sigmoid", w.op("Add", given[1], told_parts[1]))
        new = w.op("Tanh", w.op("Add", given[2], w.op("Mul", reset, told_parts[2])))
        fresh = w.op("Mul", w.op("Sub", w.constant(1.0), update), new)
        state = fresh if state is None else w.op("Add", fresh, w.op("Mul", update, state))
    assert state is not None
    return state


def network(weights: Dict[str, np.ndarray], hidden: int, ratio: float, layers: int, epsilon: float = 0.1) -> onnx.ModelProto:
    """Of a GraphCoder that scores its nodes."""
    w = Half(weights)
    width = weights["enter.weight"].shape[0]
    both = "convolutions.0.down" in weights
    texts = w.length("token_states")
    spans = Spans(w)
    x = first = enter(w, spans)
    text, children = "text", w.op("Cast", "children", to=TensorProto.FLOAT)
    own = w.count_to(w.length("text"))
    weights_of_nodes = w.filled(w.length("text"), 0.0)
    source = w.where(w.op("Not", w.op("Equal", "parent", own)))
    target = w.rows("parent", source)
    outs = []
    for layer in range(layers):
        x = convolve(w, f"convolutions.{layer}.", x, first, source, target, epsilon, both)
        blank = w.filled(w.op("Concat", texts, w.integers_of([width]), axis=0), 0.0)
        # States are never below 0 here.
        outs.append(w.op("ScatterND", blank, w.column(text), x, reduction="max"))
        kept, score = pool(w, f"pools.{layer}.", x, children, text, texts, ratio)
        now = w.op("ScatterND", w.filled(w.length(x), -1, np.int64), w.column(kept), w.count_to(w.length(kept)))
        source, target = w.rows(now, source), w.rows(now, target)
        none = w.integers_of(0)
        stays = w.where(w.op("And", w.op("GreaterOrEqual", source, none), w.op("GreaterOrEqual", target, none)))
        source, target = w.rows(source, stays), w.rows(target, stays)
        weight = w.op("Mul", w.op("Sigmoid", score), w.constant(2.0))
        x, first = w.op("Mul", w.rows(x, kept), w.column(weight)), w.rows(first, kept)
        text, children, own = w.rows(text, kept), w.rows(children, kept), w.rows(own, kept)
        level = w.op("Mul", shares(w, score, text, texts), w.constant(weights["levels"][layer]))
        weights_of_nodes = w.add_rows(weights_of_nodes, own, level)
    total = w.op("ReduceSum", "token_states", w.integers_of([1]), keepdims=0)
    mean = w.op("Div", total, w.op("Cast", spans.tokens, to=TensorProto.FLOAT))
    squares = w.op("ReduceSum", w.op("Mul", mean, mean), w.integers_of([-1]), keepdims=1)
    states_told = w.op("Div", told(w, spans, weights_of_nodes, texts), w.op("Sqrt", squares))
    graph = w.unit_length(w.op("Add", w.linear(recur(w, outs, width), "leave"), w.linear(states_told, "project")))
    embedding = w.unit_length(mean)
    plain = w.linear(embedding, "project")
    share = w.linear(embedding, "gate") if "gate.weight" in weights else w.weight("gate")
    share = w.op("Sigmoid", share)
    rest = w.op("Mul", w.op("Sub", w.constant(1.0), share), plain)
    w.unit(w.op("Add", w.op("Mul", share, graph), rest), "vectors")
    inputs = [helper.make_tensor_value_info("token_states", TensorProto.FLOAT, ["texts", "tokens", hidden])]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, ["nodes"]) for name in LISTS]
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", hidden])
    return w.model("coder", inputs, [vectors], OPSET)
