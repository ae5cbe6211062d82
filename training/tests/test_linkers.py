"""The linker: what SQL uses, how tables are written, what the model is fed, and that it learns."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import torch

from linkers.__main__ import main
from linkers.gold import gold
from linkers.inputs import Inputs
from linkers.model import COLUMN, Linker, column_scores
from linkers.schema import Column, Database, Question, Table, held_out, joined, read_questions, words, written
from linkers.trainer import Recipe, Trainer, examples, measure, scores

from .support import WORDS, write_base

#: The tiny tokenizer's words without digits, which names are split at.
NAMES = ["x" + "".join("abcdefghij"[int(digit)] for digit in word[1:]) for word in WORDS]

SHOP = Database(
    "shop",
    [
        Table("Customers", "customers", [Column(name, "", "text") for name in ("id", "name", "City")]),
        Table("orders", "orders", [Column(name, "", "number") for name in ("id", "customer_id", "total price")]),
    ],
)


class Gold(unittest.TestCase):
    def check(self, sql: str, tables: str, columns: str) -> None:
        found = gold(sql, SHOP)
        assert found is not None, sql
        self.assertEqual(found[0], set(tables.split()), sql)
        self.assertEqual({f"{table}.{column}" for table, column in found[1]}, set(columns.split(", ")) - {""}, sql)

    def test_what_is_used(self):
        self.check("SELECT count(*) FROM customers", "Customers", "")
        self.check("SELECT Name FROM CUSTOMERS WHERE city = 'Rome'", "Customers", "Customers.name, Customers.City")
        self.check("SELECT * FROM orders ORDER BY `total price`", "orders", "orders.total price")

    def test_aliases_and_subqueries(self):
        self.check(
            "SELECT T1.name FROM customers AS T1 JOIN orders AS T2 ON T1.id = T2.customer_id GROUP BY T1.id",
            "Customers orders",
            "Customers.name, Customers.id, orders.customer_id",
        )
        self.check(
            "SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)",
            "Customers orders",
            "Customers.name, Customers.id, orders.customer_id",
        )
        self.check(
            "WITH big AS (SELECT customer_id AS c FROM orders) SELECT c FROM big",
            "orders",
            "orders.customer_id",
        )

    def test_what_cannot_be_read_is_left_out(self):
        self.assertIsNone(gold("SELECT FROM WHERE", SHOP))
        self.assertIsNone(gold("SELECT name FROM elsewhere", SHOP))


class Schema(unittest.TestCase):
    def test_identifiers_in_words(self):
        for identifier, expected in (
            ("custAcct_no2", "cust acct no 2"),
            ("HTTPStatus", "http status"),
            ("Free Meal Count (K-12)", "free meal count k 12"),
            ("größe_cm", "größe cm"),
        ):
            self.assertEqual(words(identifier), expected)

    def test_readable_names_where_they_say_more(self):
        self.assertEqual(written("A11", "average salary"), "a 11 (average salary)")
        self.assertEqual(written("stu_fname", "fname"), "stu fname")
        self.assertEqual(written("name", "customer name"), "customer name")
        self.assertEqual(written("---", ""), "---")

    def test_questions_of_every_layout(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "questions.json"
            for rows in (
                [{"db_id": "shop", "question": "q", "query": "s"}],
                [{"db_id": "shop", "question": "q", "evidence": "", "SQL": "s"}],
                {"0": {"db_id": "shop", "question": "q", "ground_truth": "s"}},
                [{"db_id": "shop", "SpiderQuestion": "other", "SpiderSynQuestion": "q", "query": "s"}],
            ):
                path.write_text(json.dumps(rows))
                self.assertEqual(read_questions(path), [Question("shop", "q", "s")])
        self.assertEqual(joined("how many?", "many is 3"), "how many? | many is 3")


def world(seed: int = 0) -> "tuple[dict[str, Database], list[Question]]":
    """Databases of made-up words. Questions need columns of a quarter of the names and never another."""
    generator = random.Random(seed)
    databases, questions = {}, []
    for number in range(12):
        tables = []
        for place in range(3):
            names = [*generator.sample(NAMES[:10], 1), *generator.sample(NAMES[10:40], 3)]
            generator.shuffle(names)
            tables.append(Table(NAMES[50 + place], NAMES[50 + place], [Column(name, name, "text") for name in names]))
        database = Database(f"d{number}", tables)
        databases[database.name] = database
        for table in tables:
            for column in table.columns:
                if column.name in NAMES[:10]:
                    questions += [Question(database.name, word, f"SELECT {column.name} FROM {table.name}") for word in NAMES[60:64]]
    return databases, questions


class Learning(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.base = Path(cls.folder.name) / "cache" / "sources" / "all-MiniLM-L6-v2"
        write_base(cls.base)
        tokenizer = cls.base / "tokenizer.json"
        content = json.loads(tokenizer.read_text())
        content["model"]["vocab"] = {dict(zip(WORDS, NAMES)).get(word, word): i for word, i in content["model"]["vocab"].items()}
        tokenizer.write_text(json.dumps(content))
        cls.threads = torch.get_num_threads()
        torch.set_num_threads(1)
        cls.inputs = Inputs(cls.base)

    @classmethod
    def tearDownClass(cls):
        torch.set_num_threads(cls.threads)
        cls.folder.cleanup()

    def test_spans(self):
        table = Table("xb", "xb", [Column("xd_xe", "", "text"), Column("xc", "", "text")])
        (part,) = self.inputs.parts(table)
        self.assertEqual(part.columns, ["xc", "xd_xe"])
        question = self.inputs.question("xj xi")
        ids, types, mask, spans = self.inputs.batch([(question, part), (question[:1], part)])
        self.assertEqual(spans[0][spans[0] >= 0].tolist(), [0, 1, 1])
        self.assertEqual(ids[0][spans[0] == 1].tolist(), self.inputs.question("xd xe"))
        self.assertEqual(types[0].tolist(), [0] * 4 + [1] * (len(ids[0]) - 4))
        self.assertEqual(mask.sum(1).tolist(), [len(ids[0]), len(ids[0]) - 1])

    def test_wide_tables_are_read_in_parts(self):
        table = Table("xb", "xb", [Column(f"xc_xd_{NAMES[i]}", "", "text") for i in range(100)])
        parts = self.inputs.parts(table)
        self.assertGreater(len(parts), 1)
        self.assertEqual(sorted(name for part in parts for name in part.columns), sorted(c.name for c in table.columns))
        for part in parts:
            self.assertLessEqual(len(part.ids), 256 - 112 - 3 + 1)

    def test_columns_take_the_mean_of_their_tokens(self):
        logits = torch.tensor([[[9.0, 0.0], [1.0, 0.0], [3.0, 0.0], [5.0, 0.0]]])
        found = column_scores(logits, torch.tensor([[-1, 0, 0, 1]]))
        self.assertEqual(found.tolist(), [[2.0, 5.0]])
        self.assertEqual(COLUMN, 0)

    def test_the_order_of_columns_changes_nothing(self):
        model = Linker.start(self.base, 1)
        columns = [Column(NAMES[i], "", "text") for i in range(6)]
        found = []
        for order in (columns, columns[::-1]):
            database = Database("d", [Table("xj", "xj", list(order))])
            (example,) = examples(self.inputs, {"d": database}, [Question("d", "xh xi", "SELECT xb FROM xj")])
            found.append(scores(model, self.inputs, example, self.inputs.parts(database.tables[0])))
        self.assertEqual(found[0], found[1])

    def test_it_learns(self):
        databases, questions = world()
        known = examples(self.inputs, databases, questions)
        self.assertEqual(len(known), len(questions))
        parts = {name: [part for table in d.tables for part in self.inputs.parts(table)] for name, d in databases.items()}
        train = [example for example in known if example.database not in ("d0", "d1")]
        other = [example for example in known if example.database in ("d0", "d1")]
        model = Linker.start(self.base, 1)
        before = measure(model, self.inputs, parts, other)["own_threshold"]
        recipe = Recipe(steps=150, parts=16, learning_rate=1e-3, head_learning_rate=1e-2)
        Trainer(recipe, model, self.inputs, parts).run(train, Path(self.folder.name))
        after = measure(model, self.inputs, parts, other)["own_threshold"]
        self.assertLess(after, 4.0)
        self.assertGreater(before, 5.0)
        embeddings = Linker.start(self.base, 1).bert.embeddings.state_dict()
        for name, value in model.bert.embeddings.state_dict().items():
            self.assertTrue(torch.equal(value, embeddings[name]), name)

    def test_the_command(self):
        databases, questions = world()
        root = Path(self.folder.name)
        entries = []
        for d in databases.values():
            columns = [(i, c.name) for i, t in enumerate(d.tables) for c in t.columns]
            entries.append(
                {
                    "db_id": d.name,
                    "table_names_original": [t.name for t in d.tables],
                    "table_names": [t.readable for t in d.tables],
                    "column_names_original": [[-1, "*"], *map(list, columns)],
                    "column_names": [[-1, "*"], *map(list, columns)],
                    "column_types": ["text"] * (1 + len(columns)),
                }
            )
        rows = [{"db_id": q.database, "question": q.text, "query": q.sql} for q in questions]
        for kind, tables in (("spider", "tables.json"), ("bird", "train_tables.json")):
            (root / "data" / "sql" / kind).mkdir(parents=True, exist_ok=True)
            (root / "data" / "sql" / kind / tables).write_text(json.dumps(entries))
            (root / "data" / "sql" / kind / "train.json").write_text(json.dumps(rows))
        (root / "data" / "sql" / "spider" / "spider_syn_train.json").write_text(json.dumps(rows))
        recipe = root / "tiny.toml"
        recipe.write_text("steps = 4\nparts = 4\n")
        named = {"GLEANER_BENCH_DATA": str(root / "data"), "GLEANER_CACHE": str(root / "cache")}
        self.assertTrue(any(held_out(name) for name in databases))
        with mock.patch.dict(os.environ, named), contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(main(["train", str(recipe), "--out", str(root / "run")]), 0)
        held = json.loads((root / "run" / "held-out.json").read_text())
        self.assertGreater(held["questions"], 0)
        with contextlib.redirect_stderr(io.StringIO()) as said, mock.patch.dict(os.environ, named):
            self.assertEqual(main(["train", str(recipe), "--set", "speed=3"]), 1)
        self.assertIn("`speed` is not a setting", said.getvalue())


if __name__ == "__main__":
    unittest.main()
