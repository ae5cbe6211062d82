"""Mentions and names to token ids.

An input is `[CLS] left [START_ENT] mention [END_ENT] right [SEP]` in at most INPUT tokens. Where what
stands before the mention does not fit, the text's first HEAD tokens stay, with a [SEP] behind them:
what a text is about is said there. `src/model/generator` cuts in the same way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from .data import Mention

#: Tokens of an input, of the text's beginning in it, and of a name, its end included.
INPUT, HEAD, NAME = 112, 24, 24
#: Spare tokens of the base's vocabulary that are used for the marks.
MARKS = {"[START_ENT]": "[unused0]", "[END_ENT]": "[unused1]"}
#: Characters on each side that are looked at: more than fit.
SIDE = 900


def with_marks(tokenizer: str) -> str:
    """The base's tokenizer.json with its spare tokens renamed to the marks."""
    content = json.loads(tokenizer)
    vocabulary = content["model"]["vocab"]
    for mark, spare in MARKS.items():
        place = vocabulary.pop(spare)
        vocabulary[mark] = place
        content["added_tokens"].append(
            {"id": place, "content": mark, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        )
    content["added_tokens"].sort(key=lambda token: token["id"])
    content["padding"] = content["truncation"] = None
    return json.dumps(content, ensure_ascii=False)


class Inputs:
    def __init__(self, base: Path) -> None:
        self._tokenizer = Tokenizer.from_str(with_marks((base / "tokenizer.json").read_text(encoding="utf-8")))
        ids = {name: self._tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[MASK]", *MARKS)}
        self.begin, self.end, self.mask = ids["[CLS]"], ids["[SEP]"], ids["[MASK]"]
        self.opening, self.closing = ids["[START_ENT]"], ids["[END_ENT]"]

    def _ids(self, texts: Sequence[str]) -> List[List[int]]:
        return [e.ids for e in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def names(self, names: Sequence[str]) -> List[List[int]]:
        """Tokens of names, the end behind them."""
        return [[*ids[: NAME - 1], self.end] for ids in self._ids(names)]

    def mentions(self, mentions: Sequence[Mention]) -> List[np.ndarray]:
        found = []
        for start in range(0, len(mentions), 4096):
            some = mentions[start : start + 4096]
            befores = [m.text[: m.start] for m in some]
            # The beginning and what is next to the mention, where it is long.
            heads = self._ids([b[:SIDE] if len(b) > 2 * SIDE else "" for b in befores])
            lefts = self._ids([b[-SIDE:] if len(b) > 2 * SIDE else b for b in befores])
            middles = self._ids([f" [START_ENT] {m.words} [END_ENT] " for m in some])
            rights = self._ids([m.text[m.end : m.end + SIDE] for m in some])
            found += [self._window(h + l, m, r) for h, l, m, r in zip(heads, lefts, middles, rights)]
        return found

    def _window(self, before: List[int], middle: List[int], after: List[int]) -> np.ndarray:
        room = INPUT - 2
        middle = middle[:room]
        room -= len(middle)
        right = min(len(after), max((room + 1) // 2, room - len(before)))
        left = min(len(before), room - right)
        if left == len(before) or left <= 2 * HEAD:
            kept = before[len(before) - left :]
        else:
            kept = [*before[:HEAD], self.end, *before[len(before) - (left - HEAD - 1) :]]
        return np.array([self.begin, *kept, *middle, *after[:right], self.end], dtype=np.int32)

    def batch_names(self, rows: Sequence[Sequence[List[int]]]) -> Tuple[Tensor, Tensor]:
        """What the decoder is given and what it is to write, [rows, names, tokens]; -1 for nothing."""
        many = max(len(names) for names in rows)
        width = max(len(name) for names in rows for name in names)
        given = np.zeros((len(rows), many, width), dtype=np.int64)
        wanted = np.full((len(rows), many, width), -1, dtype=np.int64)
        given[:, :, 0] = self.begin
        for i, names in enumerate(rows):
            for j, name in enumerate(names):
                given[i, j, 1 : len(name)] = name[:-1]
                wanted[i, j, : len(name)] = name
        return torch.from_numpy(given), torch.from_numpy(wanted)
