"""python -m linkers COMMAND: train, measure; `--help` after either."""

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
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    measure = commands.add_parser("measure", help="on the held-out training databases")
    for command in (train, measure):
        command.add_argument("--out", type=Path, help="the folder")
        command.add_argument("--questions", type=int, default=400, help="held-out questions to measure on")
    options = parser.parse_args(arguments)
    try:
        return do_train(options) if options.command == "train" else do_measure(options)
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
    from .trainer import Recipe, Trainer, read

    recipe = only(Recipe, values_of(options.recipe, options.set), options.recipe)
    torch.set_num_threads(max(1, recipe.threads))
    out = folder(options)
    out.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(place.base())
    databases, found = read(place.data(), inputs)
    model = Linker.start(place.base(), recipe.seed)
    trainer = Trainer(recipe, model, inputs, parts_of(inputs, databases))
    seen = [e for e in found if not held_out(e.database) and fold(e.database) != recipe.without]
    run = trainer.run(seen, out)
    (out / "run.json").write_text(json.dumps({"recipe": vars(recipe), **run}, indent=2) + "\n", encoding="utf-8")
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


if __name__ == "__main__":
    sys.exit(main())
