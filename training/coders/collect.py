"""Documented functions out of the sources of installed packages, as pairs of a text and code.

`gleaner code units` cuts the sources; this takes the functions whose documentation says what they
do, apart from it, drops what occurs twice or in an evaluation set, and balances languages and
packages. Only packages under permissive licences are taken.
"""

from __future__ import annotations

import ast
import collections
import gzip
import hashlib
import json
import random
import re
import textwrap
from email.parser import HeaderParser
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

#: Functions of each language, at most, and of one package.
MOST = {"python": 36000, "rust": 10500, "javascript": 4500, "typescript": 3000, "c": 1500, "cpp": 500}
MOST_OF_PACKAGE = 1500
#: Length of the code, in characters.
SHORTEST, LONGEST = 40, 1400
#: Words of a text.
FEWEST_WORDS, MOST_WORDS = 3, 30
#: Tokens in a row that are compared with evaluation sets, and the share of them that makes code
#: known.
SHINGLE, KNOWN = 6, 0.5
#: Functions of one name, at most, that are asked for in one another's words.
MOST_NAMESAKES = 40
PERMISSIVE = re.compile(
    r"\b(mit|mit-cmu|apache|bsd|isc|psf|python software foundation|hpnd|zlib|unlicense|0bsd|public domain|bsl-1\.0|boost|historical permission)",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(a?l?gpl|mpl|eupl|cddl|epl|sspl|busl|commons)|general public", re.IGNORECASE)
TESTS = re.compile(r"(^|/)(tests?|testing|vendor|_vendor|third_party|examples?|benchmarks?|dist|min|umd|cjs|lib/esm)(/|$)|(^|/)test_|_test\.")
WORD = re.compile(r"[A-Za-z][A-Za-z']*")
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|[^\s\w]")
STOP = frozenset(
    "a an and are as at be been but by can does for from get given has have if in into is it its may of on or "
    "out so such than that the their them then there these this those to used using was we when where which "
    "whether will with you your our returns return".split()
)


def licence_is_permissive(text: str) -> bool:
    """Of a choice between several, one that is."""
    choices = re.split(r"\bOR\b|/", text)
    return any(PERMISSIVE.search(one) and not COPYLEFT.search(one) for one in choices)


def python_licences(folder: Path) -> Dict[str, Tuple[str, str]]:
    """Distribution and licence of each top-level module."""
    found: Dict[str, Tuple[str, str]] = {}
    for info in sorted(folder.glob("*.dist-info")):
        headers = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8", errors="replace"))
        said = headers.get("License-Expression") or ""
        classified = [c.split("::")[-1].strip() for c in headers.get_all("Classifier", []) if c.startswith("License ::")]
        if not said:
            said = "; ".join(c for c in classified if c != "OSI Approved")
        if not said:
            said = (headers.get("License") or "").strip().split("\n")[0][:80]
        record = info / "RECORD"
        tops = {line.split("/")[0].split(",")[0] for line in record.read_text(encoding="utf-8").splitlines()} if record.is_file() else set()
        for top in tops:
            if top and not top.endswith(".dist-info") and top not in ("..", "bin", "share", "__pycache__"):
                found[top.removesuffix(".py")] = (headers.get("Name") or info.name, said)
    return found


def crate_licence(folder: Path) -> str:
    manifest = folder / "Cargo.toml"
    if not manifest.is_file():
        return ""
    said = re.search(r'^license = "([^"]+)"', manifest.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return said.group(1) if said else ""


def npm_licence(folder: Path) -> str:
    try:
        said = json.loads((folder / "package.json").read_text(encoding="utf-8")).get("license") or ""
    except (OSError, ValueError):
        return ""
    return said if isinstance(said, str) else str(said.get("type", ""))


class Packages:
    """The package of a unit's path, and its licence."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.python = python_licences(folder) if kind == "python" else {}
        self.known: Dict[str, str] = {}

    def of(self, path: str) -> Tuple[str, str]:
        steps = path.split("/")
        if self.kind == "python":
            return self.python.get(steps[0].removesuffix(".py"), (steps[0], ""))
        if self.kind == "npm":
            name = "/".join(steps[:2]) if steps[0].startswith("@") else steps[0]
            read = npm_licence
        else:
            name, read = steps[0], crate_licence
        if name not in self.known:
            self.known[name] = read(self.folder / name)
        if self.kind != "npm":
            # Two versions of a crate are one package.
            return re.sub(r"-\d+\.\d+.*$", "", name), self.known[name]
        return name, self.known[name]


def without_docstring(code: str, language: str) -> Optional[str]:
    """The code without the documentation before it, or in Python, at its beginning; comments
    inside stay."""
    if language != "python":
        lines = code.split("\n")
        while lines and re.match(r"\s*(//|/\*|\*|$)", lines[0]):
            ends_here = "*/" in lines[0]
            rest = lines[0].split("*/", 1)[1] if ends_here else ""
            lines = ([rest] if rest.strip() else []) + lines[1:]
        return textwrap.dedent("\n".join(lines)).strip("\n") or None
    plain = textwrap.dedent(code)
    try:
        tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if len(tree.body) != 1 or not isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    first = tree.body[0].body[0]
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)):
        return None
    if len(tree.body[0].body) == 1 or first.lineno <= tree.body[0].lineno:
        return None
    lines = plain.split("\n")
    return "\n".join(lines[: first.lineno - 1] + lines[first.end_lineno :]).strip("\n")


def first_sentence(docstring: str) -> Optional[str]:
    """What a function does, in a sentence; None where that is not said."""
    text = re.split(r"\n\s*\n|\n\s*(?:@|:param|:return|:type|Args|Parameters|Returns|-{3,}|={3,})", docstring.strip(), maxsplit=1)[0]
    if text.lstrip().startswith(("@", ":", ">>>", "#", "!", "<", "..")):
        return None
    text = re.sub(r":\w+(?::\w+)?:`~?([^`<]+)(?:<[^`]*)?`", r"\1", text)
    text = re.sub(r"\[([^\]]+)\](\([^)]*\)|\[[^\]]*\])?", r"\1", text)
    text = re.sub(r"\{@\w+\s+([^}]*)\}|<[^>]+>", r"\1", text)
    text = re.sub(r"[`*]+", "", " ".join(text.split()))
    text = re.split(r"(?<=[a-z\)][.!?;:])\s", text, maxsplit=1)[0].rstrip(".:; ")
    words = WORD.findall(text)
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS or not text.isascii():
        return None
    letters = sum(c.isalpha() or c == " " for c in text)
    if letters < 0.8 * len(text) or re.match(r"(?i)(todo|see |deprecated|test|internal|alias|same as|override|inherit|private|copyright)", text):
        return None
    return text


def keywords(text: str, seed: str) -> str:
    """A text as people type it into a search box: its telling words, some of them left out."""
    chance = random.Random(seed)
    words = [w.lower() for w in WORD.findall(text)]
    telling = [w for w in words if w not in STOP] or words
    kept = [w for w in telling if chance.random() < 0.75] or telling
    return " ".join(kept[:8])


def normalised(code: str) -> List[str]:
    """Tokens of code in lower case, with all numbers alike."""
    return ["0" if t[0].isdigit() else t.lower() for t in TOKEN.findall(code)]


def said(text: str) -> str:
    return " ".join(w.lower() for w in WORD.findall(text))


def digest(tokens: Iterable[str]) -> bytes:
    return hashlib.blake2b("\x00".join(tokens).encode(), digest_size=12).digest()


def shingles(tokens: List[str]) -> Set[bytes]:
    spans = range(max(1, len(tokens) - SHINGLE + 1))
    return {digest(tokens[i : i + SHINGLE]) for i in spans}


def name_of(one: dict) -> str:
    """The words of a function's name, where they are two or more and say something."""
    name = re.split(r"\.|::|#", one["id"].rsplit("#", 1)[-1].split("~")[0])[-1]
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    return " ".join(words) if len(words) >= 2 and sum(len(w) > 2 for w in words) >= 2 else ""


def partners(found: Iterable[dict], seed: int) -> Dict[str, str]:
    """For functions whose name another package has as well, what that says of its own: the same asked
    for in other words. Both packages are held out, or neither."""
    groups: Dict[Tuple[str, str, bool], List[dict]] = collections.defaultdict(list)
    for one in found:
        if name_of(one):
            groups[one["language"], name_of(one), is_held_out(one["package"])].append(one)
    chance = random.Random(seed)
    asked: Dict[str, str] = {}
    for group in groups.values():
        # What dozens of classes have in common is a convention, and says little of each.
        if not 2 <= len(group) <= MOST_NAMESAKES:
            continue
        for one in group:
            own = telling(one["text"])
            others = [telling(other["text"]) for other in group]
            fits = [
                other
                for other, words in zip(group, others)
                if other["package"] != one["package"] and own & words and len(own & words) <= 0.6 * len(own | words)
            ]
            if fits:
                asked[one["id"]] = chance.choice(fits)["text"]
    return asked


def telling(text: str) -> Set[str]:
    return {w for w in said(text).split() if w not in STOP}


class Evaluated:
    """What evaluation sets hold: code and documentation that may not be trained on."""

    def __init__(self, folder: Path) -> None:
        self.code: Set[bytes] = set()
        self.texts: Set[str] = set()
        self.shingles: Set[bytes] = set()
        for line in (folder / "cosqa" / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["text"]
            self.add(text, re.search(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', text, re.DOTALL))
        for line in (folder / "cosqa" / "queries.jsonl").read_text(encoding="utf-8").splitlines():
            self.texts.add(said(json.loads(line)["text"]))
        pairs = folder / "python_docstrings.jsonl.gz"
        with gzip.open(pairs, "rt", encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                text, _, code = json.loads(line)["input"].partition("[CODESPLIT]")
                self.texts.add(said(text))
                self.add(code, None)

    def add(self, text: str, documented: "Optional[re.Match[str]]") -> None:
        code = text
        if documented:
            docstring = documented.group(1) or documented.group(2) or ""
            self.texts.add(said(docstring))
            sentence = first_sentence(docstring)
            if sentence:
                self.texts.add(said(sentence))
            code = text.replace(documented.group(0), "")
        tokens = normalised(code)
        self.code.add(digest(tokens))
        self.shingles |= shingles(tokens)

    def asks(self, query: str) -> bool:
        """Whether an evaluation set asks this."""
        return said(query) in self.texts

    def knows(self, text: str, docstring: str, tokens: List[str]) -> bool:
        if said(text) in self.texts or said(docstring) in self.texts or digest(tokens) in self.code:
            return True
        own = shingles(tokens)
        return len(own & self.shingles) >= KNOWN * len(own)


def candidates(units: Path, packages: Packages) -> Iterator[dict]:
    with units.open(encoding="utf-8") as lines:
        for line in lines:
            if '"docstring"' not in line:
                continue
            unit = json.loads(line)
            if unit["kind"] not in ("function", "method") or "docstring" not in unit or "part" in unit:
                continue
            if TESTS.search(unit["path"]) or len(unit["code"]) > 3 * LONGEST:
                continue
            package, licence = packages.of(unit["path"])
            if not licence_is_permissive(licence):
                continue
            text = first_sentence(unit["docstring"])
            if text is None:
                continue
            code = without_docstring(unit["code"], unit["language"])
            if code is None or not SHORTEST <= len(code) <= LONGEST:
                continue
            yield {
                "id": unit["id"],
                "language": unit["language"],
                "package": f"{packages.kind}/{package}",
                "licence": licence,
                "text": text,
                "docstring": unit["docstring"],
                "code": code,
                "documented": textwrap.dedent(unit["code"]),
            }


def is_held_out(package: str) -> bool:
    """A fifth, by a hash of the package's name."""
    return hashlib.sha256(package.encode()).digest()[0] % 5 == 0


def collect(sources: List[Tuple[str, Path, Path]], evaluation: Path, out: Path, seed: int = 1) -> dict:
    """Writes the functions of `sources` (kind, folder, units) to `out`; returns what was counted.

    Half of the functions keep their documentation and are asked for by some of its words (`form` is
    `whole`), by what another package says of a function of that name (`asked`), or by what one would type to
    find it (`typed`); the others are without it (`bare`), and are asked for by its first sentence."""
    evaluated = Evaluated(evaluation)
    counts: Dict[str, int] = collections.Counter()
    seen_code: Set[bytes] = set()
    seen_sets: Set[bytes] = set()
    seen_texts: Set[str] = set()
    found: Dict[str, List[dict]] = collections.defaultdict(list)
    for kind, folder, units in sources:
        for one in candidates(units, Packages(kind, folder)):
            counts["documented"] += 1
            tokens = normalised(one["code"])
            alike = digest(sorted(set(t for t in tokens if t.isidentifier())))
            text = said(one["text"])
            if digest(tokens) in seen_code or alike in seen_sets or text in seen_texts:
                counts["twice"] += 1
                continue
            if evaluated.knows(one["text"], one["docstring"], tokens):
                counts["in evaluation sets"] += 1
                continue
            seen_code.add(digest(tokens))
            seen_sets.add(alike)
            seen_texts.add(text)
            found[one["language"]].append(one)
    chance = random.Random(seed)
    kept: List[dict] = []
    for language, most in MOST.items():
        functions = sorted(found.get(language, []), key=lambda one: one["id"])
        chance.shuffle(functions)
        of_package: Dict[str, int] = collections.Counter()
        of_language = 0
        for one in functions:
            of_package[one["package"]] += 1
            if of_package[one["package"]] <= MOST_OF_PACKAGE and of_language < most:
                of_language += 1
                kept.append(one)
    chance.shuffle(kept)
    asked = partners((one for functions in found.values() for one in functions), seed)
    searched = {function: query for function, query in typed() if not evaluated.asks(query)}
    packages: Dict[str, List] = {}
    with out.open("w", encoding="utf-8") as lines:
        for one in kept:
            form = "whole" if hashlib.sha256(one["id"].encode()).digest()[1] % 2 else "bare"
            query = one["text"] if form == "bare" else keywords(one["text"], one["id"])
            code = one["code"] if form == "bare" else one["documented"]
            if form == "whole" and one["id"] in asked:
                form, query = "asked", asked[one["id"]]
            if form != "bare" and one["id"] in searched:
                form, query = "typed", searched[one["id"]]
            row = {
                "id": one["id"], "language": one["language"], "package": one["package"], "form": form,
                "held_out": is_held_out(one["package"]), "query": query, "code": code,
            }
            lines.write(json.dumps(row) + "\n")
            about = packages.setdefault(one["package"], [one["licence"], 0])
            about[1] += 1
            counts[f"kept {one['language']}"] += 1
            counts[form] += 1
            counts["kept"] += 1
            counts["held out"] += row["held_out"]
        for number, one in enumerate(snippets(evaluation / "conala_train.json", evaluated)):
            lines.write(json.dumps(one) + "\n")
            counts["snippets"] += 1
    summary = {"counts": dict(counts), "packages": {name: packages[name] for name in sorted(packages)}}
    out.with_suffix(".summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def typed() -> Iterator[Tuple[str, str]]:
    """Functions, and what one would type into a search box to find each: written by a language model
    that read the function, and did not use the words of its name and documentation on purpose."""
    with gzip.open(Path(__file__).with_name("typed.tsv.gz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            function, query = line.rstrip("\n").split("\t")
            yield function, query


def snippets(path: Path, evaluated: Evaluated) -> Iterator[dict]:
    """Questions as people ask them, with a line of Python that answers each (CoNaLa, train). Those
    of one question stand or fall together."""
    seen: Set[str] = set()
    for number, one in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        query, code = one["intent"], one["snippet"]
        if said(query) in seen or evaluated.knows(query, query, normalised(code)):
            continue
        seen.add(said(query))
        package = f"conala/{one['question_id']}"
        yield {
            "id": f"conala/{number}", "language": "python", "package": package, "form": "snippet",
            "held_out": is_held_out(package), "query": query, "code": code,
        }
