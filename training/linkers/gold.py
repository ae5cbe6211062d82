"""The tables and columns that a SQL text uses, to train on. Measuring has its own reader
(`gleaner eval schema`), in Rust; this one leaves out what it cannot read, which training can afford.
"""

from __future__ import annotations

import logging
from typing import Dict, Optional, Set, Tuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify_columns import qualify_columns
from sqlglot.optimizer.qualify_tables import qualify_tables
from sqlglot.optimizer.scope import traverse_scope

from .schema import Database

logging.getLogger("sqlglot").setLevel(logging.ERROR)

#: Tables, and columns as table and column, in the database's spelling.
Gold = Tuple[Set[str], Set[Tuple[str, str]]]


def gold(sql: str, database: Database) -> Optional[Gold]:
    """None for what cannot be read or names what the database does not have."""
    tables = {table.name.lower(): table for table in database.tables}
    schema = {table.name.lower(): {c.name.lower(): c.type for c in table.columns} for table in database.tables}
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
        for name in tree.find_all(exp.Identifier):
            name.set("this", name.name.lower())
        # A star is left as it is: it names no column in particular.
        tree = qualify_columns(qualify_tables(tree, dialect="sqlite"), schema, expand_stars=False, expand_alias_refs=True)
        found: Gold = (set(), set())
        for scope in traverse_scope(tree):
            sources: Dict[str, str] = {}
            for alias, source in scope.sources.items():
                if isinstance(source, exp.Table):
                    if source.name not in tables:
                        return None
                    sources[alias] = source.name
                    found[0].add(tables[source.name].name)
            for column in scope.columns:
                table = sources.get(column.table)
                if table is None:
                    continue
                same = [c.name for c in tables[table].columns if c.name.lower() == column.name]
                if same:
                    found[1].add((tables[table].name, same[0]))
                elif column.name != "*":
                    return None
        return found if found[0] else None
    except (SqlglotError, RecursionError, ValueError, KeyError, AttributeError):
        return None
