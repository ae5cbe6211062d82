"""python -m linkers COMMAND: train, measure, export, split; `--help` after each."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import List, Optional

from encoders import place


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="linkers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train by a recipe into a folder")
    train.add_argument("recipe", type=Path)
    train.add_argument("--start", type=Path, metavar="FOLDER", help="go on from the weights of another run")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    measure = commands.add_parser("measure", help="on the held-out training databases")
    export = commands.add_parser("export", help="write layers and card as the repository keeps them")
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="models/NAME")
    split = commands.add_parser("split", help="write files of questions by the run that has not seen their databases")
    split.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    for command in (train, measure, export):
        command.add_argument("--out", type=Path, help="the folder")
        command.add_argument("--questions", type=int, default=400, help="held-out questions to measure on")
    options = parser.parse_args(arguments)
    try:
        return {"train": do_train, "measure": do_measure, "export": do_export, "split": do_split}[options.command](options)
    except (place.Missing, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def folder(options: argparse.Namespace) -> Path:
    return options.out or place.work() / "linkers"


def do_train(options: argparse.Namespace) -> int:
    import torch

    from encoders.recipe import only, values_of

    from .inputs import Inputs, parts_of
    from .model import Linker
    from .schema import fold, held_out
    from .trainer import WEIGHTS, Recipe, Trainer, read

    recipe = only(Recipe, values_of(options.recipe, options.set), options.recipe)
    torch.set_num_threads(max(1, recipe.threads))
    out = folder(options)
    out.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(place.base())
    databases, found = read(place.data(), inputs)
    model = Linker.start(place.base(), recipe.seed)
    if options.start:
        model.load_trained(torch.load(options.start / WEIGHTS, weights_only=True))
    trainer = Trainer(recipe, model, inputs, parts_of(inputs, databases))
    seen = [e for e in found if not held_out(e.database) and fold(e.database) != recipe.without]
    run = trainer.run(seen, out)
    (out / "run.json").write_text(json.dumps({"recipe": vars(recipe), "start": options.start and options.start.name, **run}, indent=2) + "\n", encoding="utf-8")
    return do_measure(options)


def do_measure(options: argparse.Namespace) -> int:
    import numpy as np
    import torch

    from .inputs import Inputs, parts_of
    from .model import Linker
    from .schema import held_out
    from .trainer import WEIGHTS, measure, read

    torch.set_num_threads(1)
    inputs = Inputs(place.base())
    databases, found = read(place.data(), inputs)
    model = Linker.start(place.base(), 1)
    model.load_trained(torch.load(folder(options) / WEIGHTS, weights_only=True))
    parts = parts_of(inputs, {name: database for name, database in databases.items() if held_out(name)})
    kept = [example for example in found if held_out(example.database)]
    order = np.random.default_rng(7).permutation(len(kept))[: options.questions]
    measured = measure(model, inputs, parts, [kept[i] for i in order])
    (folder(options) / "held-out.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(measured))
    return 0


def do_export(options: argparse.Namespace) -> int:
    import torch

    from .export import export, write_card
    from .model import Linker
    from .trainer import WEIGHTS

    torch.set_num_threads(1)
    model = Linker.start(place.base(), 1)
    model.load_trained(torch.load(folder(options) / WEIGHTS, weights_only=True))
    run, held = (folder(options) / name for name in ("run.json", "held-out.json"))
    frozen = json.loads(run.read_text())["recipe"]["frozen"] if run.is_file() else 0
    apart = export(model, place.base(), options.to, frozen)
    if run.is_file() and held.is_file():
        write_card(json.loads(run.read_text()), json.loads(held.read_text()), apart, options.to)
    return 0


def do_split(options: argparse.Namespace) -> int:
    """`SET-0.json` and `SET-1.json` are of databases that the run without that fold has not seen,
    `SET-held.json` of those that no run has."""
    from .schema import fold, held_out

    options.to.mkdir(parents=True, exist_ok=True)
    for name, file in SETS.items():
        rows = json.loads((place.data() / file).read_text(encoding="utf-8"))
        rows = list(rows.values()) if isinstance(rows, dict) else rows
        for part in ("0", "1", "held"):
            wanted = [r for r in rows if (part == "held") == held_out(r["db_id"]) and part in ("held", str(fold(r["db_id"])))]
            (options.to / f"{name}-{part}.json").write_text(json.dumps(wanted), encoding="utf-8")
    return 0


#: Training questions.
SETS = {"spider": "sql/spider/train.json", "synonyms": "sql/spider/spider_syn_train.json", "bird": "sql/bird/train.json"}


if __name__ == "__main__":
    sys.exit(main())
