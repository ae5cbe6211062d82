"""python -m rerankers COMMAND: thin, study, train, choose, report, ...; `--help` after any of them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import List, Optional

from encoders import place


#: Of the study, what was measured so far.
MEASURED = place.MEASURED / "rerankers"


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="rerankers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    thin = commands.add_parser("thin", help="a collection's training judgments as BM25 would have left them, as TSV")
    thin.add_argument("collection", choices=["nfcorpus", "scifact"])
    thin.add_argument("--depth", type=int, default=10, help="of the one retriever's pool; smaller is a stronger bias")
    thin.add_argument("--to", type=Path, required=True, help="the file: query, document, grade; positions from 0")
    study = commands.add_parser("study", help="the ways of training over thinned judgments; goes on where it stopped")
    study.add_argument("recipe", type=Path)
    study.add_argument("--seeds", type=int, default=3)
    study.add_argument("--seconds", type=float, default=0.0, help="begin no run after that")
    train = commands.add_parser("train", help="train by a recipe into a folder")
    train.add_argument("recipe", type=Path)
    train.add_argument("--choose", action="store_true", help="and choose at once")
    choose = commands.add_parser("choose", help="calibration, mix and weight against the first stage, on held-out queries")
    held = commands.add_parser("held", help="held-out queries as collections, to ask the service (rerankers/served.py)")
    held.add_argument("--to", type=Path, required=True)
    served = commands.add_parser("served", help="the weight against the service's first stage, from its runs over these")
    served.add_argument("--collections", type=Path, required=True, help="what `held` wrote")
    served.add_argument("--runs", type=Path, required=True, help="a folder for each of them, as --run-dir leaves it")
    report = commands.add_parser("report", help="measure on the evaluation sets; writes reports/rerankers/")
    report.add_argument("--reports", type=Path, help="instead of reports/")
    prepare = commands.add_parser("prepare", help="the first stage's candidates of all that the recipes need")
    prepare.add_argument("recipes", type=Path, nargs="+")
    prepare.add_argument("--jobs", type=int, default=1, help="collections at a time")
    export = commands.add_parser("export", help="write a run as compact layers, with its card; checks parity")
    export.add_argument("--to", type=Path, required=True, help="models/NAME")
    export.add_argument("--graphs", type=Path, help="folder for the ONNX graphs")
    assemble = commands.add_parser("assemble", help="compact layers and the base's embeddings to a full folder")
    assemble.add_argument("model", type=Path, help="models/NAME")
    assemble.add_argument("folder", type=Path, help="what to write")
    table = commands.add_parser("table", help="the tables of docs/rerankers.md from what was measured")
    table.add_argument("--into", type=Path, help="a file with the marks; standard output otherwise")
    session = commands.add_parser("session", help="the study and several recipes side by side, the best of them measured")
    session.add_argument("recipes", type=Path, nargs="*")
    session.add_argument("--study", type=Path, help="the study's recipe")
    session.add_argument("--study-set", action="append", default=[], metavar="KEY=VALUE", help="instead of the study's")
    session.add_argument("--seconds", type=float, default=3e7, help="stop then")
    restore = commands.add_parser("restore", help="the folders of a session that ran elsewhere, from what it kept")
    restore.add_argument("keep", type=Path)
    for command in (study, session):
        command.add_argument("--jobs", type=int, default=1, help="runs of the study at a time")
    for command in (study, report, session):
        command.add_argument("--queries", type=int, default=0, help="measure on that many queries only")
    for command in (choose, report):
        command.add_argument("--depth", type=int, default=100, help="candidates of each query to re-rank")
    for command in (train, choose, session):
        command.add_argument("--scale", type=float, default=1.0, help="part of the held-out queries to use")
    for command in (study, train, session):
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    for command in (study, train, choose, held, served, report, export, session, restore):
        command.add_argument("--out", type=Path, help="the folder")
    options = parser.parse_args(arguments)
    try:
        return globals()[f"do_{options.command}"](options)
    except (place.Missing, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def kept() -> Path:
    """Where candidates and runs are kept."""
    return place.work() / "rerankers"


def do_thin(options: argparse.Namespace) -> int:
    from encoders.data import read

    from .first_stage import candidates
    from .thinning import thin

    source = read(place.data(), options.collection)
    thinned = thin(source, candidates(source, place.base(), kept(), place.data()).ranks, options.depth)
    with open(options.to, "w", encoding="utf-8") as out:
        out.write("query\tdocument\tgrade\n")
        for query in thinned.training:
            for document, grade in thinned.relevant[query].items():
                out.write(f"{query}\t{document}\t{grade:g}\n")
    left = sum(len(thinned.relevant[q]) for q in thinned.training)
    print(f"{left} of {sum(len(source.relevant[q]) for q in source.training)} judgments of the training queries stay")
    return 0


def do_study(options: argparse.Namespace) -> int:
    from .recipe import Recipe
    from .study import Setting, study

    recipe = Recipe.read(options.recipe, options.set)
    setting = Setting(recipe, place.data(), place.base(), place.base(recipe.base), kept(), options.queries)
    study(setting, options.out or kept() / "study", range(1, options.seeds + 1), options.jobs, options.seconds)
    return 0


def do_train(options: argparse.Namespace) -> int:
    from .recipe import Recipe
    from .run import choose, train

    recipe = Recipe.read(options.recipe, options.set)
    out = options.out or kept() / "runs" / recipe.name
    train(recipe, out, place.data(), place.base(), kept())
    if options.choose:
        choose(out, place.data(), place.base(), kept(), options.scale)
    return 0


def do_choose(options: argparse.Namespace) -> int:
    from .run import choose

    choose(options.out, place.data(), place.base(), kept(), options.scale, options.depth)
    return 0


def do_report(options: argparse.Namespace) -> int:
    from .run import report

    reports = options.reports or place.REPORTS
    report(options.out, place.data(), place.base(), kept(), reports, queries=options.queries, depth=options.depth)
    return 0


def do_held(options: argparse.Namespace) -> int:
    from .recipe import Recipe
    from .run import read_run
    from .served import write

    write(place.data(), Recipe.of(read_run(options.out)["recipe"]).limits(), options.to)
    return 0


def do_served(options: argparse.Namespace) -> int:
    from .served import weigh

    weigh(options.out, options.collections, options.runs)
    return 0


def do_export(options: argparse.Namespace) -> int:
    from encoders.export import ParityError

    from .card import write_card
    from .export import export
    from .run import UNCALIBRATED, load, read_run

    model, recipe = load(options.out, place.base())
    best = read_run(options.out)["chosen"]
    calibration = (best["temperature"], best["offset"])
    if calibration == UNCALIBRATED:
        raise ValueError(f"{options.out}: the scores were not calibrated, the model has not learned yet")
    try:
        parity = export(model, place.base(), options.to, recipe.max_tokens, calibration, options.graphs)
    except ParityError as problem:
        print(f"error: {problem}; nothing was written", file=sys.stderr)
        return 1
    write_card(options.out, options.to, parity, place.REPORTS)
    for form, row in parity.items():
        print(f"{form}: scores within {row['difference']:.5f}, {row['order']:.4f} in the same order")
    return 0


def do_assemble(options: argparse.Namespace) -> int:
    from .export import assemble

    assemble(options.model, place.base(), options.folder)
    return 0


def do_table(options: argparse.Namespace) -> int:
    from encoders.tables import write_into

    from .tables import tables

    text = tables(place.REPORTS, MEASURED)
    if options.into:
        write_into(options.into, text)
    else:
        print(text)
    return 0


def do_prepare(options: argparse.Namespace) -> int:
    from encoders.data import EVALUATION

    from .first_stage import EVALUATE, SOURCE, prepare
    from .recipe import Recipe
    from .run import VALIDATION

    limits = {name: 0 for name in VALIDATION}
    for path in options.recipes:
        limits.update(Recipe.read(path).limits())
    wanted = [(SOURCE, name, limit) for name, limit in limits.items()]
    wanted += [(EVALUATE, name, 0) for name in EVALUATION]
    prepare(wanted, place.data(), place.base(), kept(), options.jobs)
    return 0


def do_session(options: argparse.Namespace) -> int:
    from .session import session

    out = options.out or kept() / "session"
    failed = session(
        options.recipes, options.study, out, options.seconds, options.jobs, options.set, options.study_set, options.scale, options.queries
    )
    return 1 if failed else 0


def do_restore(options: argparse.Namespace) -> int:
    from .session import restore

    restore(options.keep, options.out or kept() / "session", place.REPORTS)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    sys.exit(main())
