"""Questions and tables to token ids.

`[CLS] question | evidence [SEP] table : column , column , ... [SEP]`, columns sorted by their names
so that the order in the database changes nothing. A table that does not fit is read in parts, its
name before each. Of a question the first QUESTION tokens are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from encoders.texts import Tokens

from .schema import Database, Table, written

#: Tokens of a question, of a table's name, of a column's, and of a whole input.
QUESTION, NAME, COLUMN, INPUT = 112, 12, 16, 256


@dataclass
class Part:
    """A table, or as much of it as is read at once."""

    table: str
    columns: List[str]
    ids: List[int]
    #: The column of each token, -1 for none.
    spans: List[int]


class Inputs:
    def __init__(self, folder: Path) -> None:
        self._tokens = Tokens(folder)
        empty = self._tokens.ids([""], 8)[0]
        self.begin, self.end = int(empty[0]), int(empty[-1])
        self.colon, self.comma = (int(self._tokens.ids([mark], 8)[0][1]) for mark in (":", ","))

    def _ids(self, texts: Sequence[str], most: int) -> List[List[int]]:
        return [row[1:-1].tolist() for row in self._tokens.ids(list(texts), most + 2)]

    def question(self, text: str) -> List[int]:
        return self._ids([text], QUESTION)[0]

    def parts(self, table: Table) -> List[Part]:
        """Room is left for the longest question, so that a table's parts do not depend on it."""
        columns = sorted(table.columns, key=lambda column: (column.name.lower(), column.name))
        head = [*self._ids([written(table.name, table.readable)], NAME)[0], self.colon]
        names = self._ids([written(column.name, column.readable) for column in columns], COLUMN)
        room = INPUT - QUESTION - 3 - len(head)
        found: List[Part] = []
        for column, ids in zip(columns, names):
            if not found or len(found[-1].ids) + len(ids) + 1 > room + len(head):
                found.append(Part(table.name, [], list(head), [-1] * len(head)))
            part = found[-1]
            part.spans += [len(part.columns)] * len(ids) + [-1]
            part.ids += [*ids, self.comma]
            part.columns.append(column.name)
        return found

    def batch(self, rows: Sequence[Tuple[List[int], Part]]) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ids, types, mask and spans, [rows, tokens]."""
        # The comma behind the last column is left out.
        width = max(len(question) + len(part.ids) - 1 + 3 for question, part in rows)
        ids, types, mask = (np.zeros((len(rows), width), dtype=np.int64) for _ in range(3))
        spans = np.full((len(rows), width), -1, dtype=np.int64)
        for i, (question, part) in enumerate(rows):
            first = [self.begin, *question, self.end]
            second = [*part.ids[:-1], self.end]
            end = len(first) + len(second)
            ids[i, :end] = first + second
            types[i, len(first) : end] = 1
            mask[i, :end] = 1
            spans[i, len(first) : end - 1] = part.spans[:-1]
        return torch.from_numpy(ids), torch.from_numpy(types), torch.from_numpy(mask), torch.from_numpy(spans)


def parts_of(inputs: Inputs, databases: Dict[str, Database]) -> Dict[str, List[Part]]:
    return {name: [part for table in database.tables for part in inputs.parts(table)] for name, database in databases.items()}
