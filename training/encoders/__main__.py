"""python -m encoders COMMAND: train, choose, report, ... ; `--help` after any of them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import List, Optional

from . import place


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="encoders", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train by a recipe into a folder; goes on from its checkpoint")
    train.add_argument("recipe", type=Path)
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    choose = commands.add_parser("choose", help="choose the mix with the weights from before, on held-out queries")
    choose.add_argument("--scale", type=float, default=1.0, help="part of the held-out queries to use")
    choose.add_argument("--tokens", type=int, help="cut texts there instead of where they will be served")
    report = commands.add_parser("report", help="measure on the evaluation sets; writes reports/encoders/")
    report.add_argument("--share", type=float, help="instead of the chosen mix")
    compare = commands.add_parser("compare", help="the poolings over frozen lower layers, several seeds")
    compare.add_argument("recipe", type=Path)
    compare.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    compare.add_argument("--seeds", type=int, default=3)
    compare.add_argument("--poolings", nargs="*", help="only these")
    grid = commands.add_parser("grid", help="the poolings with the whole encoder trained, several seeds, side by side on a GPU")
    grid.add_argument("recipe", type=Path)
    grid.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    grid.add_argument("--seeds", type=int, default=3)
    grid.add_argument("--jobs", type=int, default=6, help="runs side by side")
    grid.add_argument("--poolings", nargs="*", help="only these")
    grid.add_argument("--variants", nargs="*", help="only these")
    grid.add_argument("--runs", type=Path, help="folder of the runs")
    export = commands.add_parser("export", help="write a run as compact layers, with its card; checks parity")
    export.add_argument("--to", type=Path, required=True, help="models/NAME")
    export.add_argument("--graphs", type=Path, help="folder for the ONNX graphs")
    assemble = commands.add_parser("assemble", help="compact layers and the base's embeddings to a full folder")
    assemble.add_argument("model", type=Path, help="models/NAME")
    assemble.add_argument("folder", type=Path, help="what to write")
    table = commands.add_parser("table", help="the tables of docs/encoders.md from what was reported")
    table.add_argument("--into", type=Path, help="a file with the marks; standard output otherwise")
    bundle = commands.add_parser("bundle", help="all that runs read, in a folder for a machine that has nothing else")
    bundle.add_argument("folder", type=Path)
    unbundle = commands.add_parser("unbundle", help="there: put the base of a bundle into the cache folder")
    unbundle.add_argument("folder", type=Path)
    commands.add_parser("speed", help="what the poolings cost; writes reports/encoders-speed.json")
    for command in (train, choose, report, export):
        command.add_argument("--out", type=Path, help="the run's folder")
    report.add_argument("--base", action="store_true", help="the encoder as it was instead of a run")
    for command in (choose, report):
        command.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
        command.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        return globals()[f"do_{options.command}"](options)
    except (place.Missing, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def do_train(options: argparse.Namespace) -> int:
    from .recipe import Recipe
    from .run import train

    recipe = Recipe.read(options.recipe, options.set)
    out = options.out or place.work() / "runs" / recipe.name
    train(recipe, out, place.data(), place.base(), place.work())
    return 0


def do_choose(options: argparse.Namespace) -> int:
    import torch

    from .run import choose

    if options.threads:
        torch.set_num_threads(options.threads)
    choose(options.out, place.data(), place.base(), options.scale, options.precision, options.tokens)
    return 0


def do_report(options: argparse.Namespace) -> int:
    import torch

    from .evaluate import against, read_report, report
    from .model import Bert
    from .pooling import Mean
    from .run import load, read_run
    from .texts import Tokens, device_of

    if options.threads:
        torch.set_num_threads(options.threads)
    tokens = Tokens(place.base())
    name = "all-minilm-l6-v2" if options.base else options.out.name
    if options.base:
        bert, pooling, most, about = Bert.read(place.base()).to(device_of("auto")), Mean(), 256, {}
    else:
        bert, pooling, recipe = load(options.out, place.base(), options.share)
        run = read_run(options.out)
        most, about = recipe.max_tokens, {key: run[key] for key in ("recipe", "share") if key in run}
        if options.share is not None:
            about["share"] = options.share
            name += f"-{options.share}"
    found = report(name, bert, pooling, tokens, place.data(), place.REPORTS, most, about, options.precision)
    if not options.base and (place.REPORTS / "encoders" / "all-minilm-l6-v2.json").is_file():
        for collection, row in against(found, read_report("all-minilm-l6-v2", place.REPORTS)).items():
            print(f"{collection}: {row['difference']:+.4f} nDCG@10 against the encoder as it was, p {row['p']:.4f}")
    return 0


def do_compare(options: argparse.Namespace) -> int:
    from .compare import compare
    from .recipe import Recipe

    recipe = Recipe.read(options.recipe, options.set)
    seeds = range(1, options.seeds + 1)
    compare(recipe, seeds, place.data(), place.base(), place.work(), place.REPORTS, options.poolings)
    return 0


def do_grid(options: argparse.Namespace) -> int:
    from .grid import VARIANTS, best, grid
    from .pooling import NAMES
    from .recipe import Recipe

    recipe = Recipe.read(options.recipe, options.set)
    runs = options.runs or place.work() / "runs"
    poolings = NAMES if options.poolings is None else options.poolings
    variants = list(VARIANTS) if options.variants is None else options.variants
    seeds = range(1, options.seeds + 1)
    grid(recipe, seeds, options.jobs, place.data(), place.base(), runs, place.REPORTS, poolings, variants)
    print(f"best on what was held out: {best(recipe, runs)}")
    return 0


def do_export(options: argparse.Namespace) -> int:
    from .card import write_card
    from .export import ParityError, export
    from .run import load

    bert, pooling, recipe = load(options.out, place.base())
    try:
        parity = export(
            options.to.name, bert, pooling, place.base(), options.to, recipe.max_tokens, options.graphs
        )
    except ParityError as problem:
        print(f"error: {problem}; nothing was written", file=sys.stderr)
        return 1
    write_card(options.out, options.to, parity, bert.shape.hidden, place.REPORTS)
    for form, cosine in parity.items():
        print(f"{form}: least cosine {cosine:.6f}")
    return 0


def do_assemble(options: argparse.Namespace) -> int:
    from .export import assemble

    assemble(options.model, place.base(), options.folder)
    return 0


def do_bundle(options: argparse.Namespace) -> int:
    from .bundle import write

    write(options.folder, place.data(), place.base())
    return 0


def do_unbundle(options: argparse.Namespace) -> int:
    from .bundle import unpack

    unpack(options.folder, place.cache())
    return 0


def do_speed(options: argparse.Namespace) -> int:
    from .speed import speed

    speed(place.base(), place.REPORTS)
    return 0


def do_table(options: argparse.Namespace) -> int:
    from .tables import tables, write_into

    text = tables(place.REPORTS)
    if options.into:
        write_into(options.into, text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    sys.exit(main())
