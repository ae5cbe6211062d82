"""What is trained on: marked mentions with their names, and the names they are to be told from.

Four kinds of mentions:
- *marked*: those that people marked in documents and in sentences of FewRel;
- *shortened*: names that a text has in full, shortened to a part of their words or replaced by an
  alias, so that the context has to say which one is meant;
- *aliases*: an alias in a text that has nothing to do with it;
- *made*: texts out of templates (`synthetic.py`).

A fifth of the documents is held out by a hash of the text; of FewRel a fifth of the sentences.
"""

from __future__ import annotations

import gzip
import json
import pickle
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Set, Tuple

import numpy as np

from .synthetic import Maker

#: Documents with marked entities that may train.
DOCUMENTS = ("wiki-fair-v2-dev", "news-fair-v2-dev", "oke-2015-train", "oke-2016-train")
#: Most names that are kept beside the right one of a mention, and of titles for each word.
OTHERS, OF_WORD = 24, 200
#: Share of shortened names that are mistyped.
TYPO = 0.04
#: A name in a text: capitalised words, with small ones between.
NAMED = re.compile(r"\b[A-ZÀ-Þ][\w'’.-]*(?:\s(?:(?:of|the|and|de|von|van|for|in)\s)?[A-ZÀ-Þ][\w'’.-]*){1,4}")


@dataclass
class Mention:
    """A mention in a text, with what it means and what it does not."""

    text: str
    start: int
    end: int
    name: str
    kind: str
    others: List[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        return self.text[self.start : self.end]


def held_out(text: str) -> bool:
    return zlib.crc32(text.encode("utf-8")) % 5 == 4


def plain(name: str) -> str:
    """A name as the catalog spells it: lower case, in words."""
    return " ".join(name.replace("_", " ").lower().split())


class Names:
    """The catalog's names and aliases."""

    def __init__(self, data: Path) -> None:
        entities = data / "entities"
        with gzip.open(entities / "titles.txt.gz", "rt", encoding="utf-8") as file:
            self.titles: Set[str] = {plain(line) for line in file}
        self.meant: Dict[str, List[str]] = {}
        self.called: Dict[str, List[str]] = {}
        with gzip.open(entities / "aliases.tsv.gz", "rt", encoding="utf-8") as file:
            for line in file:
                alias, name = (plain(part) for part in line.split("\t"))
                self.meant.setdefault(alias, []).append(name)
                self.called.setdefault(name, []).append(alias)

    def known(self, name: str) -> bool:
        return name in self.titles or name in self.called

    def of_label(self, label: str) -> str:
        """The catalog's name for what a collection calls so."""
        name = plain(label)
        if not self.known(name) and name in self.meant:
            return self.meant[name][0]
        return name

    def with_words(self, wanted: Set[str], random: np.random.Generator) -> Dict[str, List[str]]:
        """Some titles for each word, drawn evenly."""
        found: Dict[str, List[str]] = {word: [] for word in wanted}
        seen: Dict[str, int] = dict.fromkeys(wanted, 0)
        for title in sorted(self.titles):
            for word in title.split():
                rows = found.get(word)
                if rows is None:
                    continue
                seen[word] += 1
                if len(rows) < OF_WORD:
                    rows.append(title)
                elif (place := int(random.random() * seen[word])) < OF_WORD:
                    rows[place] = title
        return found


def marked(data: Path, names: Names) -> List[Mention]:
    """What people marked."""
    found: List[Mention] = []
    for collection in DOCUMENTS:
        path = data / "entities" / "linking" / f"{collection}.jsonl"
        seen: Set[str] = set()
        for line in path.read_text(encoding="utf-8").splitlines():
            document = json.loads(line)
            text = document["text"]
            if text in seen:
                continue
            seen.add(text)
            for label in document["labels"]:
                if label.get("coref") or not re.fullmatch(r"Q\d+", label["entity_id"]):
                    continue
                start, end = label["span"]
                found.append(Mention(text, start, end, names.of_label(label["name"]), "document"))
    with gzip.open(data / "entities" / "fewrel_mentions.json.gz", "rt", encoding="utf-8") as file:
        for rows in json.load(file).values():
            for row in rows:
                tokens = row["tokens"]
                for name, _, places in (row["h"], row["t"]):
                    place = places[0]
                    start = len(" ".join(tokens[: place[0]])) + (1 if place[0] else 0)
                    text = " ".join(tokens)
                    end = start + len(" ".join(tokens[place[0] : place[-1] + 1]))
                    found.append(Mention(text, start, end, names.of_label(name), "sentence"))
    return found


def mistyped(words: str, random: np.random.Generator) -> str:
    """Two letters swapped, or one left out or doubled."""
    if len(words) < 5:
        return words
    at, way = int(random.integers(1, len(words) - 1)), random.random()
    if way < 0.4:
        return words[:at] + words[at + 1] + words[at] + words[at + 2 :]
    return words[:at] + words[at + 1 :] if way < 0.7 else words[:at] + words[at] + words[at:]


def shortened(mention: Mention, names: Names, random: np.random.Generator) -> Mention | None:
    """The name by a part of its words or an alias in the place of it."""
    words = mention.words.split()
    aliases = [a for a in names.called.get(mention.name, []) if a != mention.name]
    if aliases and random.random() < 0.4:
        called = str(aliases[int(random.integers(len(aliases)))])
        if mention.words[:1].isupper():
            called = " ".join(w[:1].upper() + w[1:] for w in called.split())
    elif len(words) > 1:
        called = words[-1] if random.random() < 0.5 else words[0] if random.random() < 0.7 else " ".join(words[: len(words) - 1])
        if len(called) < 3 or called.lower() in {"the", "of", "and", "a", "in", "le", "la", "de"}:
            return None
    else:
        return None
    if random.random() < TYPO:
        called = mistyped(called, random)
    text = mention.text[: mention.start] + called + mention.text[mention.end :]
    return Mention(text, mention.start, mention.start + len(called), mention.name, "shortened")


def unmarked(texts: Iterable[str], names: Names) -> List[Mention]:
    """Names of the catalog in full, of two words and more, where nobody marked them."""
    found = []
    for text in texts:
        for match in NAMED.finditer(text):
            words, start = match.group(), match.start()
            if words.startswith("The "):
                words, start = words[4:], start + 4
            if len(words.split()) > 1 and plain(words) in names.titles:
                found.append(Mention(text, start, start + len(words), plain(words), "unmarked"))
    return found


def drawn_aliases(names: Names, texts: Sequence[str], many: int, random: np.random.Generator) -> List[Mention]:
    """Aliases at the place of a space in texts that have nothing to do with them."""
    pairs = sorted((alias, name) for alias, of in names.meant.items() for name in of if name in names.titles)
    found = []
    for at in random.integers(len(pairs), size=many):
        alias, name = pairs[int(at)]
        text = texts[int(random.integers(len(texts)))]
        spaces = [i for i, c in enumerate(text[:400]) if c == " "] or [0]
        place = spaces[int(random.integers(len(spaces)))]
        found.append(Mention(f"{text[:place]} {alias} {text[place:].lstrip()}", place + 1, place + 1 + len(alias), name, "alias"))
    return found


def made(many: int, random: np.random.Generator) -> List[Mention]:
    maker = Maker(random)
    weights = np.array([weight for weight, _ in maker.kinds])
    found = []
    for at in random.choice(len(maker.kinds), size=many, p=weights / weights.sum()):
        one = maker.kinds[int(at)][1]()
        text, start, end = one.text, one.start, one.end
        if random.random() < 0.5:
            # News comes in longer pieces: another one of the same kind before or behind it.
            other = maker.kinds[int(at)][1]().text
            if random.random() < 0.5:
                text, start, end = f"{other} {text}", start + len(other) + 1, end + len(other) + 1
            else:
                text = f"{text} {other}"
        found.append(Mention(text, start, end, plain(one.name), "made", [plain(o) for o in one.others]))
    return found


def add_others(mentions: Sequence[Mention], names: Names, random: np.random.Generator) -> None:
    """Names that share the alias or words with the mention, or are like the right one."""
    wanted: Set[str] = set()
    for mention in mentions:
        wanted.update(plain(mention.words).split())
        wanted.update(mention.name.split()[-1:])
    by_word = names.with_words(wanted, random)
    for mention in mentions:
        words = plain(mention.words)
        found: List[str] = list(mention.others)
        found += [words] if names.known(words) else []
        found += names.meant.get(words, [])[:6]
        split = words.split()
        longer = [t for t in by_word.get(split[0] if split else "", []) if t.startswith(words + " ")]
        within = [t for word in split[-1:] for t in by_word.get(word, []) if words in t]
        like = by_word.get(mention.name.split()[-1], []) if mention.name else []
        for rows, many in ((longer, 8), (within, 8), (like, 3)):
            if rows:
                found += [rows[int(i)] for i in random.permutation(len(rows))[:many]]
        mention.others = list(dict.fromkeys(o for o in found if o and o != mention.name))[:OTHERS]


@dataclass
class Collected:
    training: Dict[str, List[Mention]]
    held_out: List[Mention]


def collect(data: Path, seed: int, aliases: int, synthetic: int, kept: Path | None = None) -> Collected:
    """Everything, by kind; `kept` is a file to keep it in."""
    if kept and kept.is_file():
        with open(kept, "rb") as file:
            return pickle.load(file)
    random = np.random.default_rng(seed)
    names = Names(data)
    all_marked = marked(data, names)
    training = [m for m in all_marked if not held_out(m.text)]
    texts = sorted({m.text for m in training})
    by_kind: Dict[str, List[Mention]] = {
        "document": [m for m in training if m.kind == "document"],
        "sentence": [m for m in training if m.kind == "sentence"],
        "made": made(synthetic, random),
        "alias": drawn_aliases(names, texts, aliases, random),
    }
    whole = [*unmarked(texts, names), *training]
    short = [shortened(m, names, random) for m in whole if len(m.name.split()) > 1 or m.name in names.called]
    by_kind["shortened"] = [m for m in short if m is not None]
    held = [m for m in all_marked if held_out(m.text)]
    everything = [*(m for rows in by_kind.values() for m in rows), *held]
    add_others(everything, names, random)
    found = Collected(by_kind, held)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with open(kept, "wb") as file:
            pickle.dump(found, file)
    return found
