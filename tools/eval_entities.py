#!/usr/bin/env python3
"""Which entities mentions mean: `make eval-entities`, and what weighs the evidence: `make fit-entities`.

`fit` gathers what is known of the mentions of the training collections, of the fifth of their
documents that no generator was trained on, and fits how much each measure counts
(src/entity/link/weights.toml). `evaluate` measures with that on collections that nothing was fitted
on, prints tables, writes reports/eval-entities.json and, with --markdown FILE, the tables between
that file's marks. Both are needed only where the service's own program is there: `make build`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402
from console import SetupError, fail  # noqa: E402
from eval_schema import percent  # noqa: E402
from eval_values import into  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

MARK = "eval-entities"
WEIGHTS = PROJECT / "src/entity/link/weights.toml"
#: What may be fitted on; oke-2016-train has the documents of oke-2015-train.
TRAINING = ("wiki-fair-v2-dev", "news-fair-v2-dev", "oke-2015-train", "oke-2016-train")
#: What only reports.
GIVEN = ("aida-conll-dev",)
OPEN = ("aida-conll-dev", "oke-2016-eval", "derczynski")
#: Parts of the training documents, of which the last is held out.
PARTS = 5
NAMES = {
    "prior": "most popular",
    "similarity": "highest similarity",
    "generator": "generator",
    "prior_similarity": "prior and similarity",
    "prior_generator": "prior and generator",
    "no_generator": "all but the generator",
    "all": "all",
}


class Service:
    """The program with a folder of data of its own."""

    def __init__(self, program: Path, folder: Path, generator: str) -> None:
        self.program, self.folder, self.generator = program, folder, generator
        # The weights of the source, which may be newer than the program's.
        lines = ["[data]", f'folder = "{folder / "data"}"', "[entities]", f"weights = {json.dumps(str(WEIGHTS))}"]
        if generator:
            lines.append(f'generator = "{generator}"')
        (folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, *arguments: str) -> Any:
        command = [str(self.program), "--config", str(self.folder / "config.toml"), *arguments, "--json"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
        if done.returncode != 0:
            raise SetupError(f"the program ended with status {done.returncode}; its message is above")
        return json.loads(done.stdout)

    def build(self, data: Path) -> None:
        """A catalog of all names, with their aliases."""
        arguments = ["--names", str(data / "titles.txt.gz"), "--aliases", str(data / "aliases.tsv.gz")]
        arguments += ["--underscores", "--replace"]
        if self.generator:
            arguments += ["--model", self.generator]
        self.run("entities", "build", "titles", *arguments)


def is_held_out(text: str) -> bool:
    """Whether no generator was trained on a document, by its text: some are in two collections."""
    return zlib.crc32(text.encode("utf-8")) % PARTS == PARTS - 1


def held_out(files: Sequence[Path], out: Path) -> int:
    """Writes the documents that are held out, each once; returns how many."""
    documents: Dict[str, str] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["text"]
            if is_held_out(text):
                documents.setdefault(text, line)
    out.write_text("".join(line + "\n" for line in documents.values()), encoding="utf-8")
    return len(documents)


def covered(documents: Path, candidates: Path, out: Path) -> None:
    """Keeps, of the mentions, those that the candidates are of."""
    with gzip.open(candidates, "rt", encoding="utf-8") as lines:
        known = {line.split("\t", 1)[0].strip() for line in lines}
    with out.open("w", encoding="utf-8") as file:
        for line in documents.read_text(encoding="utf-8").splitlines():
            document = json.loads(line)
            text, labels = document["text"], document["labels"]
            document["labels"] = [one for one in labels if text[slice(*one["span"])].strip() in known]
            file.write(json.dumps(document) + "\n")


def curated(documents: Sequence[Path], aliases: Path, out: Path) -> int:
    """Writes a catalog such as people make by hand: half of the names that the documents mark, by their
    hash, each with the aliases that lead to it, and of names of several words the last one for every second.
    The other half is what a text means and such a catalog does not have. Returns how many names."""
    names: Dict[str, List[str]] = {}
    for file in documents:
        for line in file.read_text(encoding="utf-8").splitlines():
            for label in json.loads(line)["labels"]:
                name = (label.get("name") or "").strip()
                if name and zlib.crc32(name.encode("utf-8")) % 2 == 0:
                    names.setdefault(name.lower(), [name])
    with gzip.open(aliases, "rt", encoding="utf-8") as lines:
        for line in lines:
            alias, _, name = line.rstrip("\n").partition("\t")
            known = names.get(name.split("\t", 1)[0].replace("_", " "))
            if known is not None:
                known.append(alias.replace("_", " "))
    with out.open("w", encoding="utf-8") as file:
        for name, *others in names.values():
            last = name.split()[-1]
            if last != name and zlib.crc32(last.encode("utf-8")) % 2 == 0:
                others.append(last)
            file.write(json.dumps({"name": name, "aliases": sorted(set(others))}) + "\n")
    return len(names)


def fit(service: Service, data: Path) -> None:
    linking, folder = data / "linking", service.folder
    training = [linking / f"{name}.jsonl" for name in TRAINING]
    count = held_out(training, folder / "held-out.jsonl")
    covered(folder / "held-out.jsonl", data / "mention_candidates.tsv.gz", folder / "covered.jsonl")
    service.build(data)
    given, found = folder / "given.jsonl", folder / "found.jsonl"
    titles = ["--titles", str(data / "titles.txt.gz"), "--candidates"]
    service.run("eval", "entities", "--mentions", str(folder / "covered.jsonl"), *titles, "--evidence", str(given))
    linked = ["--mentions", str(folder / "held-out.jsonl"), "--catalog", "titles", "--link"]
    service.run("eval", "entities", *linked, "--evidence", str(found))
    some = folder / "curated.jsonl"
    names = curated(training, data / "aliases.tsv.gz", some)
    arguments = ["--names", str(some), *(["--model", service.generator] if service.generator else [])]
    service.run("entities", "build", "curated", *arguments)
    few = folder / "few.jsonl"
    linked = ["--mentions", str(folder / "held-out.jsonl"), "--catalog", "curated", "--link"]
    service.run("eval", "entities", *linked, "--evidence", str(few))
    description = f"the mentions of {count} documents of {', '.join(TRAINING)}, among all names and {names} of their own"
    report = service.run(
        "entities", "fit", str(given), str(found), str(few), "--out", str(WEIGHTS), "--description", description
    )
    for way, one in report["ways"].items():
        print(f"{NAMES[way]:22} accuracy {percent(one['accuracy']):>5}  ECE {one['calibration']['ece']:.3f}")
    reports = PROJECT / "reports"
    reports.mkdir(exist_ok=True)
    write_atomically(reports / "fit-entities.json", json.dumps(report, indent=1) + "\n")


def evaluate(service: Service, data: Path) -> Dict[str, Any]:
    linking = data / "linking"
    found: Dict[str, Any] = {"given": {}, "open": {}}
    titles = ["--titles", str(data / "titles.txt.gz"), "--candidates"]
    for name in GIVEN:
        mentions = ["--mentions", str(linking / f"{name}.jsonl")]
        found["given"][name] = service.run("eval", "entities", *mentions, *titles)
        show(f"{name}, candidates given", found["given"][name])
    service.build(data)
    for name in OPEN:
        mentions = ["--mentions", str(linking / f"{name}.jsonl"), "--catalog", "titles", "--link"]
        found["open"][name] = service.run("eval", "entities", *mentions)
        show(f"{name}, all names", found["open"][name])
    return found


def show(title: str, report: Mapping[str, Any]) -> None:
    print(f"{title}: {report['mentions']} mentions, ceiling {percent(report['ceiling'])} %")
    for way, one in report["methods"].items():
        print(f"  {NAMES[way]:22} accuracy {percent(one['accuracy']):>5}  F1 {percent(one['micro_f1']):>5}", end="")
        print(f"  NIL F1 {percent(one['nil_f1']):>5}  ECE {one['calibration']['ece']:.3f}", flush=True)
    linking = report.get("linking")
    for way, one in (linking or {"methods": {}})["methods"].items():
        print(f"  {NAMES[way]:22} linking: precision {percent(one['precision']):>5}", end="")
        print(f"  recall {percent(one['recall']):>5}  F1 {percent(one['f1']):>5}", flush=True)


def tables(found: Mapping[str, Any]) -> str:
    lines: List[str] = []
    for name, report in found["given"].items():
        lines += [f"**{name}**, candidates given: {report['mentions']} mentions that mean an entity,"]
        lines += [f"{percent(report['ceiling'])} % of which have theirs among the candidates.", ""]
        lines += disambiguation(report)
        lines += reliability(report)
    for name, report in found["open"].items():
        lines += [f"**{name}**, all names: {report['mentions']} mentions that mean an entity,"]
        lines += [f"{percent(report['ceiling'])} % of which have theirs among the candidates.", ""]
        lines += disambiguation(report)
        linking = report["linking"]
        lines += [f"Linking of whole texts: {percent(linking['found'])} % of the mentions are found as stretches,"]
        lines += [f"{percent(linking['ceiling'])} % with their entity among the candidates.", ""]
        lines += ["| | precision % | recall % | F1 % | ECE |", "|---|---|---|---|---|"]
        for way, one in linking["methods"].items():
            figures = [percent(one[key]) for key in ("precision", "recall", "f1")]
            figures.append(f"{one['calibration']['ece']:.3f}")
            lines.append(f"| {NAMES[way]} | {' | '.join(figures)} |")
        lines.append("")
    return "\n".join(lines)


def disambiguation(report: Mapping[str, Any]) -> List[str]:
    lines = ["| | accuracy % | micro F1 % | NIL F1 % | ECE |", "|---|---|---|---|---|"]
    for way, one in report["methods"].items():
        figures = [percent(one[key]) for key in ("accuracy", "micro_f1", "nil_f1")]
        figures.append(f"{one['calibration']['ece']:.3f}")
        lines.append(f"| {NAMES[way]} | {' | '.join(figures)} |")
    return lines + [""]


def reliability(report: Mapping[str, Any]) -> List[str]:
    """Beside the scores of what is used, how many of the answers are right."""
    way = "all" if "all" in report["methods"] else "no_generator"
    bins = report["methods"][way]["calibration"]["bins"]
    lines = [f"How often answers of a score are right ({NAMES[way]}):", "", "| score | answers | right % |", "|---|---|---|"]
    for one in bins:
        lines.append(f"| {one['share']:.2f} | {one['answers']} | {percent(one['right'])} |")
    return lines + [""]


def main() -> None:
    parser = argparse.ArgumentParser(prog="eval_entities.py", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["fit", "evaluate"])
    parser.add_argument("--markdown", type=Path, help="write the tables into this file, between its marks")
    parser.add_argument("--program", type=Path, help="the program [default: bin/gleaner]")
    parser.add_argument("--generator", default="", help="the model that writes names [default: none]")
    options = parser.parse_args()
    data = bench_data(os.environ)
    if data is None:
        return
    data = data / "entities"
    if not data.is_dir():
        print(f"skipped: {data} is missing")
        return
    try:
        program = options.program or installed(PROGRAM)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gleaner-entities-") as folder:
            service = Service(program, Path(folder), options.generator)
            if options.what == "fit":
                fit(service, data)
                return
            found = evaluate(service, data)
        reports = PROJECT / "reports"
        reports.mkdir(exist_ok=True)
        report = {"seconds": round(time.monotonic() - started), "generator": options.generator, **found}
        write_atomically(reports / "eval-entities.json", json.dumps(report, indent=1) + "\n")
        if options.markdown:
            into(options.markdown, MARK, tables(found))
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
