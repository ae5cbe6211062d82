"""The ONNX graph of a cross-encoder, with the operators of encoders/graph.py.

Inputs `input_ids`, `attention_mask` and `token_type_ids`, int64 [batch, tokens]; output `logits`,
f32 [batch, 1], before calibration.
"""

from __future__ import annotations

from typing import Dict

import numpy as np
import onnx
from onnx import TensorProto, helper

from encoders.graph import Writer, bert_states, tokens_info
from encoders.model import Shape

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def cross_encoder(weights: Dict[str, np.ndarray], shape: Shape, integers: bool) -> onnx.ModelProto:
    """`weights` by their published names, layers and embeddings without `bert.` in front. With
    `integers` matrices are stored in int8 with a scale a row and expanded when they are used, so
    that a pair's score depends on nothing else in its batch."""
    w = Writer(weights, integers)
    last = bert_states(w, shape, types="token_type_ids")[-1]
    first = w.op("Gather", last, w.constant(0, np.int64), axis=1)
    pooled = w.op("Tanh", w.linear(first, "pooler.dense"))
    logits = w.linear(pooled, "classifier")
    w.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    return w.model(
        "cross-encoder",
        [tokens_info(name, "tokens") for name in INPUTS],
        [tokens_info("logits", 1, kind=TensorProto.FLOAT)],
    )
