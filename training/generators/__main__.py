"""python -m generators COMMAND: train, measure, export; `--help` after each."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from encoders import place

if TYPE_CHECKING:
    from .data import Collected


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="generators", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train by a recipe into a folder")
    train.add_argument("recipe", type=Path)
    train.add_argument("--start", type=Path, metavar="FOLDER", help="go on from the weights of another run")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    measure = commands.add_parser("measure", help="on the held-out fifth; with --evaluate 1 on an evaluation set too")
    measure.add_argument("--evaluate", type=int, default=0, metavar="N", help="on every N-th document of the evaluation set")
    export = commands.add_parser("export", help="write layers and card as the repository keeps them")
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="models/NAME")
    for command in (train, measure, export):
        command.add_argument("--out", type=Path, help="the folder")
    options = parser.parse_args(arguments)
    try:
        return {"train": do_train, "measure": do_measure, "export": do_export}[options.command](options)
    except (place.Missing, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def folder(options: argparse.Namespace) -> Path:
    return options.out or place.work() / "generators" / "run"


def do_train(options: argparse.Namespace) -> int:
    import torch

    from encoders.recipe import only, values_of

    from .inputs import Inputs
    from .model import Generator
    from .trainer import WEIGHTS, Drawn, Recipe, Trainer

    recipe = only(Recipe, values_of(options.recipe, options.set), options.recipe)
    torch.set_num_threads(max(1, recipe.threads))
    torch.manual_seed(recipe.seed)
    out = folder(options)
    out.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(place.base())
    found = collected(vars(recipe))
    model = Generator.start(place.base(), inputs, recipe.layers, recipe.frozen, recipe.seed)
    if options.start:
        model.load_trained(torch.load(options.start / WEIGHTS, weights_only=True))
    counts = {kind: len(rows) for kind, rows in found.training.items()}
    (out / "run.json").write_text(json.dumps({"recipe": vars(recipe), "mentions": counts}, indent=2) + "\n", encoding="utf-8")
    run = Trainer(recipe, model, Drawn(recipe, inputs, found)).run(out)
    (out / "run.json").write_text(json.dumps({"recipe": vars(recipe), "mentions": counts, "start": options.start and options.start.name, **run}, indent=2) + "\n", encoding="utf-8")
    return 0


def collected(recipe: Dict[str, Any]) -> "Collected":
    """What a recipe trains on and what is held out, kept from the first time on."""
    from .data import collect

    name = f"mentions-{recipe['seed']}-{recipe['aliases']}-{recipe['made']}.pkl"
    return collect(place.data(), recipe["seed"], recipe["aliases"], recipe["made"], place.work() / "generators" / name)


def loaded(options: argparse.Namespace) -> tuple:
    import torch

    from .inputs import Inputs
    from .model import Generator
    from .trainer import WEIGHTS

    torch.set_num_threads(2)
    run = json.loads((folder(options) / "run.json").read_text(encoding="utf-8"))
    inputs = Inputs(place.base())
    model = Generator.start(place.base(), inputs, run["recipe"]["layers"], run["recipe"]["frozen"])
    model.load_trained(torch.load(folder(options) / WEIGHTS, weights_only=True))
    return run, inputs, model.eval()


def do_measure(options: argparse.Namespace) -> int:
    from .measure import measure

    run, inputs, model = loaded(options)
    found = measure(model, inputs, collected(run["recipe"]).held_out, place.data(), place.base(), options.evaluate)
    (folder(options) / "held-out.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))
    return 0


def do_export(options: argparse.Namespace) -> int:
    from .export import export

    run, inputs, model = loaded(options)
    held = folder(options) / "held-out.json"
    export(model, inputs, place.base(), run, json.loads(held.read_text(encoding="utf-8")) if held.is_file() else {}, options.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
