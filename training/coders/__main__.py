"""python -m coders COMMAND: collect, prepare, compare, export; `--help` after each."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, List, Optional

from encoders import place

#: Most tokens of a function in training, and in measuring and serving.
TRAINED_TOKENS, MOST_TOKENS = 160, 256
#: Nodes that the features hold; runs trim them.
NODES = 256
#: The encoder that the graph goes with, and the one that it is compared with besides.
ENCODER, PLAIN = "gleaner-minilm", "all-minilm-l6-v2"
RECIPES = place.PROJECT / "training" / "recipes"
#: What is compared, with what a recipe has instead of its own.
COMPARED = {"projection": "none", "graph": "ast", "mean": "mean", "max": "max", "learned": "learned"}


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="coders", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    collect = commands.add_parser("collect", help="documented functions out of the sources of installed packages")
    prepare = commands.add_parser("prepare", help="graphs, and what the encoder says, of functions and evaluation sets")
    compare = commands.add_parser("compare", help="train every form with several seeds, and report")
    compare.add_argument("recipe", type=Path)
    compare.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    compare.add_argument("--seeds", type=int, default=3)
    compare.add_argument("--only", action="append", choices=list(COMPARED), help="of the forms, this; may be repeated")
    tune = commands.add_parser("tune", help="the same over an encoder whose last layer is trained on the same pairs")
    tune.add_argument("recipe", type=Path)
    tune.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's")
    tune.add_argument("--layer", type=Path, default=RECIPES / "coder-layer.toml", help="how the layer is trained")
    tune.add_argument("--set-layer", action="append", default=[], metavar="KEY=VALUE", help="instead of what that says")
    tune.add_argument("--seeds", type=int, default=3)
    tune.add_argument("--name", default="tuned", help="what the runs are called")
    tune.add_argument("--only", action="append", choices=list(COMPARED), help="of the forms, this; may be repeated")
    collection = commands.add_parser("collection", help="functions and what one would type to find them, as a collection to choose settings on")
    collection.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    collection.add_argument("--most", type=int, default=6000, help="functions of each split")
    parts = commands.add_parser("parts", help="what of a function its questions find, by the encoder as it is")
    export = commands.add_parser("export", help="write the network and its card as the repository keeps them")
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="models/NAME")
    table = commands.add_parser("table", help="what was measured, as Markdown")
    table.add_argument("--into", type=Path, help="a file with the marks; standard output otherwise")
    for command in (collect, prepare, compare, tune, collection, parts, export, table):
        command.add_argument("--binary", type=Path, default=place.PROJECT / "bin" / "gleaner")
        command.add_argument("--out", type=Path, help="the folder")
    options = parser.parse_args(arguments)
    steps: Dict[str, Callable[[argparse.Namespace], int]] = {"collection": do_collection, "parts": do_parts, "collect": do_collect, "prepare": do_prepare, "compare": do_compare, "tune": do_tune, "export": do_export, "table": do_table}
    try:
        return steps[options.command](options)
    except (place.Missing, ValueError, subprocess.CalledProcessError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def folder(options: argparse.Namespace) -> Path:
    return options.out or place.work() / "coders"


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


def do_collect(options: argparse.Namespace) -> int:
    from .collect import collect

    here = folder(options)
    packages = here / "packages"
    lists = Path(__file__).parent
    if not (packages / "python").is_dir():
        run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:",
            "--target", packages / "python", "--requirement", lists / "python.txt")
    if not (packages / "npm" / "node_modules").is_dir():
        (packages / "npm").mkdir(parents=True, exist_ok=True)
        names = [line for line in (lists / "npm.txt").read_text().split("\n") if line and not line.startswith("#")]
        run("npm", "install", "--prefix", packages / "npm", "--ignore-scripts", "--no-audit", "--no-fund",
            "--legacy-peer-deps", "--silent", *names)
    crates = sorted((Path.home() / ".cargo" / "registry" / "src").iterdir())
    kinds = [
        ("python", packages / "python", ["python"]),
        ("crates", crates[0], ["rust", "c", "cpp"]),
        ("npm", packages / "npm" / "node_modules", ["javascript", "typescript", "tsx"]),
    ]
    sources = []
    for kind, sources_of, languages in kinds:
        units = here / f"units-{kind}.jsonl"
        if not units.is_file():
            wanted = [part for language in languages for part in ("--language", language)]
            partial = units.with_suffix(".partial")
            run(options.binary, "code", "units", sources_of, "--repository", kind, "--out", partial, *wanted)
            partial.replace(units)
        sources.append((kind, sources_of, units))
    summary = collect(sources, place.data() / "code", here / "functions.jsonl")
    print(json.dumps(summary["counts"], indent=1))
    return 0


def encoder(name: str) -> "object":
    from .states import Encoder

    return Encoder(place.cache() / "models" / name)


def functions_of(options: argparse.Namespace, nodes: int) -> "object":
    from .trainer import read

    here = folder(options)
    return read(here / "functions.jsonl", here / "functions.arrow", encoder(ENCODER), here / "states", nodes)


def evaluation_of(options: argparse.Namespace, name: str, nodes: int) -> "object":
    from . import evaluate

    here = folder(options)
    return evaluate.read(place.data() / "code" / "cosqa", here / "cosqa.arrow", encoder(name), here / "states", nodes)


def do_prepare(options: argparse.Namespace) -> int:
    from . import evaluate

    here = folder(options)
    evaluate.write(place.data() / "code" / "cosqa", here / "cosqa.jsonl")
    tokenizer = place.cache() / "models" / ENCODER
    for name, most in (("functions", TRAINED_TOKENS), ("cosqa", MOST_TOKENS)):
        run(options.binary, "code", "features", here / f"{name}.jsonl", "--tokenizer", tokenizer,
            "--max-tokens", most, "--nodes", NODES, "--out", here / f"{name}.arrow")
    functions_of(options, NODES)
    for name in (ENCODER, PLAIN):
        evaluation_of(options, name, NODES)
    return 0


def do_compare(options: argparse.Namespace) -> int:
    import torch

    from encoders.recipe import only, values_of

    from .evaluate import report
    from .trainer import Recipe, train

    here = folder(options)
    (here / "runs").mkdir(parents=True, exist_ok=True)
    recipe = only(Recipe, values_of(options.recipe, options.set), options.recipe)
    functions, evaluation = functions_of(options, recipe.nodes), evaluation_of(options, ENCODER, recipe.nodes)
    plain: Dict[str, dict] = {name: report(evaluation_of(options, name, recipe.nodes), None) for name in (PLAIN, ENCODER)}
    (here / "runs" / "as-it-is.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    for seed in range(1, options.seeds + 1):
        for name in options.only or COMPARED:
            path = here / "runs" / f"{name}-{seed}.json"
            if path.is_file():
                continue
            model, told = train(replace(recipe, seed=seed, pooling=COMPARED[name]), functions)
            told["cosqa"] = report(evaluation, model)
            torch.save(model.state_dict(), path.with_suffix(".pt"))
            path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            print(name, seed, told["held_out"], told["cosqa"], flush=True)
    return 0


def do_tune(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    import torch

    from encoders.recipe import only, values_of

    from . import evaluate, tuned
    from .states import HIDDEN
    from .trainer import Recipe, held_out, make, part, train

    here = folder(options)
    recipe = only(Recipe, values_of(options.recipe, options.set), options.recipe)
    how = only(tuned.Tuning, values_of(options.layer, options.set_layer), options.layer)
    torch.set_num_threads(how.threads)
    functions = functions_of(options, recipe.nodes)
    # CoSQA asks for Python functions with what documents them.
    functions = part(functions, [n for n, f in enumerate(functions.forms) if functions.languages[n] == "python" and f != "bare"])
    evaluation, plain, bert = evaluation_of(options, ENCODER, recipe.nodes), encoder(ENCODER), tuned.bert_of(ENCODER)
    kept = here / "entering"
    code = tuned.Entering(bert, functions.graphs.tokens, kept / "functions")
    asked = tuned.Entering(bert, plain.ids(functions.texts, 64), kept / "queries")
    pairs = tuned.Pairs(functions, code, asked)
    measured = tuned.Entering(bert, evaluation.graphs.tokens, kept / "cosqa")
    measured_queries = tuned.Entering(bert, plain.ids(evaluation.texts, 64), kept / "cosqa-queries")
    for seed in range(1, options.seeds + 1):
        weights = here / "runs" / f"{options.name}-{seed}.pt"
        layer = bert.layers[-1]
        if weights.is_file():
            layer.load_state_dict(torch.load(weights, weights_only=True))
        else:
            layer, _ = tuned.tune(replace(how, seed=seed), layer, pairs)
            torch.save(layer.state_dict(), weights)
        over = tuned.over(layer, pairs)
        there = replace(
            evaluation, kept=tuned.kept_of(layer, measured, evaluation.graphs), queries=tuned.vectors_of(layer, measured_queries)
        )
        as_it_is = make(replace(recipe, pooling="none"), functions.graphs.vocabulary, HIDDEN)
        told = {"tuning": asdict(replace(how, seed=seed)), "held_out": held_out(as_it_is, over), "cosqa": evaluate.report(there, None)}
        weights.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        print(options.name, seed, told["held_out"], told["cosqa"], flush=True)
        for name in options.only or COMPARED:
            path = here / "runs" / f"{options.name}-{name}-{seed}.json"
            if path.is_file():
                continue
            model, told = train(replace(recipe, seed=seed, pooling=COMPARED[name]), over)
            told["cosqa"] = evaluate.report(there, model)
            path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            print(options.name, name, seed, told["held_out"], told["cosqa"], flush=True)
    return 0


def do_parts(options: argparse.Namespace) -> int:
    from .parts import report

    report(encoder(ENCODER), place.data() / "code" / "cosqa", MOST_TOKENS)
    return 0


def do_collection(options: argparse.Namespace) -> int:
    """`train` holds functions of the packages that train, `held` those of the others."""
    rows = [json.loads(line) for line in (folder(options) / "functions.jsonl").read_text(encoding="utf-8").splitlines()]
    for split, held_out in (("train", False), ("held", True)):
        found = [r for r in rows if r["language"] == "python" and r["form"] not in ("bare", "snippet") and r["held_out"] == held_out]
        # Those that are asked for first.
        found = sorted(found, key=lambda row: row["form"] != "typed")[: options.most]
        to = options.to / split
        (to / "qrels").mkdir(parents=True, exist_ok=True)
        corpus, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
        for number, row in enumerate(found):
            corpus.append(json.dumps({"_id": str(number), "text": row["code"]}))
            if row["form"] == "typed":
                queries.append(json.dumps({"_id": f"q{number}", "text": row["query"]}))
                judged.append(f"q{number}\t{number}\t1")
        for name, lines in (("corpus.jsonl", corpus), ("queries.jsonl", queries), (f"qrels/{split}.tsv", judged)):
            (to / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{to}: {len(corpus)} functions, {len(queries)} queries")
    return 0


def do_export(options: argparse.Namespace) -> int:
    import torch

    from .card import write as write_card
    from .export import export
    from .states import read_graphs
    from .trainer import Recipe, make

    here = folder(options)
    runs = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted((here / "runs").glob("graph-*.json"))}
    if not runs:
        raise place.Missing(f"{here / 'runs'} holds no run of the graph: run `python -m coders compare`")
    # Of the seeds the one that held-out queries like best.
    path = max(runs, key=lambda one: runs[one]["held_out"]["mean"])
    recipe = Recipe(**runs[path]["recipe"])
    vocabulary = read_graphs(here / "cosqa.arrow").vocabulary
    model = make(recipe, vocabulary, 384)
    model.load_state_dict(torch.load(path.with_suffix(".pt"), weights_only=True))
    about = export(model, recipe, vocabulary, encoder(ENCODER), options.binary, options.to, MOST_TOKENS)
    write_card(options.to, here, runs[path], about)
    print(f"{options.to}: seed {recipe.seed}, {about['bytes'] / 1e6:.2f} MB, least cosine {about['least']:.5f}")
    return 0


def do_table(options: argparse.Namespace) -> int:
    from .card import table

    lines = "\n".join(table(folder(options) / "runs"))
    if options.into is None:
        print(lines)
        return 0
    begin, end = "<!-- coders:begin -->", "<!-- coders:end -->"
    before, _, rest = options.into.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{options.into} has no place for the table: {begin} and {end}")
    options.into.write_text(f"{before}{begin}\n{lines}\n{end}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
