"""Databases and questions in the layout of Spider and BIRD, and how a table is written for the
model. The service splits names in the same way (src/sql/names.rs).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Set, Tuple


@dataclass(frozen=True)
class Column:
    name: str
    readable: str
    type: str


@dataclass
class Table:
    name: str
    readable: str
    columns: List[Column] = field(default_factory=list)


@dataclass
class Database:
    name: str
    tables: List[Table]


@dataclass
class Question:
    database: str
    text: str
    sql: str


def read_databases(path: Path) -> Dict[str, Database]:
    databases = {}
    for entry in json.loads(path.read_text(encoding="utf-8")):
        tables = [Table(n, r) for n, r in zip(entry["table_names_original"], entry["table_names"])]
        columns = zip(entry["column_names_original"], entry["column_names"], entry["column_types"])
        for (place, name), (_, readable), kind in columns:
            if place >= 0:
                tables[place].columns.append(Column(name, readable, kind))
        databases[entry["db_id"]] = Database(entry["db_id"], tables)
    return databases


def read_questions(path: Path) -> List[Question]:
    """Files differ in what they call the SQL; one with synonyms has its questions under a name of their own."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for row in rows.values() if isinstance(rows, dict) else rows:
        text = row.get("SpiderSynQuestion") or row["question"]
        sql = next(row[key] for key in ("query", "SQL", "ground_truth") if key in row)
        found.append(Question(row["db_id"], joined(text, row.get("evidence") or ""), sql))
    return found


def joined(question: str, evidence: str) -> str:
    """What the model reads of a question."""
    return f"{question.strip()} | {evidence.strip()}" if evidence.strip() else question.strip()


def held_out(database: str) -> bool:
    """One database in five, by the hash of its name."""
    return hashlib.sha256(database.encode("utf-8")).digest()[0] % 5 == 0


def fold(database: str) -> int:
    """0 or 1: halves of the databases, for learning from what is said of those that were not seen."""
    return hashlib.sha256(database.encode("utf-8")).digest()[2] % 2


def words(identifier: str) -> str:
    """An identifier in words: `custAcct_no2` is `cust acct no 2`."""
    split = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])|([A-Za-z])([0-9])|([0-9])([A-Za-z])", _spaced, identifier)
    return " ".join(re.sub(r"[_\W]+", " ", split).lower().split())


def _spaced(match: "re.Match[str]") -> str:
    pair = [part for part in match.groups() if part is not None]
    return f"{pair[0]} {pair[1]}"


def written(name: str, readable: str) -> str:
    """A table's or a column's name, and its readable one where that says more."""
    own = words(name)
    other = words(readable)
    if not other or other == own or set(other.split()) <= set(own.split()):
        return own or name.lower()
    if set(own.split()) <= set(other.split()):
        return other
    return f"{own} ({other})"


def used(pairs: Set[Tuple[str, str]], table: str) -> Set[str]:
    return {column for name, column in pairs if name == table}
