"""Small encoder-decoder models with random weights, exported by optimum, and what PyTorch says.

    export.py DIR

For each kind a folder of three graphs and one of a merged decoder; `expected.json` beside them has
inputs, answers, and the logarithm of the probability of each token of each answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Dict, List

import torch
from optimum.exporters.onnx import main_export
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

WORDS = 60
SMALL = {"d_model": 32, "vocab_size": WORDS}
LAYERS = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
INPUTS = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14]]
ANSWERS = [[0, [20, 21, 22]], [0, [23]], [1, [20, 24]], [2, [25, 26, 27, 28, 29]], [2, []], [1, [30]]]


def small() -> Dict[str, torch.nn.Module]:
    torch.manual_seed(1)
    bart = BartConfig(**SMALL, **LAYERS, forced_bos_token_id=0, decoder_start_token_id=2)
    mbart = MBartConfig(**SMALL, **LAYERS, forced_bos_token_id=4, decoder_start_token_id=2)
    t5 = T5Config(**SMALL, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0)
    return {
        "bart": BartForConditionalGeneration(bart),
        "mbart": MBartForConditionalGeneration(mbart),
        "t5": T5ForConditionalGeneration(t5),
    }


def expected(model: torch.nn.Module) -> List[List[float]]:
    config = model.config
    forced = getattr(config, "forced_bos_token_id", None)
    forced = forced if forced is not None else getattr(model.generation_config, "forced_bos_token_id", None)
    prefix = [config.decoder_start_token_id] + ([] if forced is None else [forced])
    end = config.eos_token_id
    results = []
    for which, answer in ANSWERS:
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([INPUTS[which]]),
                decoder_input_ids=torch.tensor([prefix + answer]),
            ).logits[0]
        scores = logits.log_softmax(-1)
        at = len(prefix) - 1
        results.append([scores[at + n, token].item() for n, token in enumerate([*answer, end])])
    return results


def main(folder: Path) -> None:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: n for n, word in enumerate(special + [f"w{n}" for n in range(4, WORDS)])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    report = {"inputs": INPUTS, "answers": ANSWERS, "models": {}}
    for name, model in small().items():
        # Random weights of the usual size say nearly the same of every token.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4.0)
        model.eval()
        source = folder / "sources" / name
        model.save_pretrained(source)
        tokenizer.save_pretrained(source)
        report["models"][name] = expected(model)
        for kind, apart in [("", True), ("-merged", False)]:
            main_export(
                str(source),
                output=folder / f"{name}{kind}",
                task="text2text-generation-with-past",
                no_post_process=apart,
                do_validation=False,
            )
    (folder / "expected.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
