// Code: functions, methods and types found by words and meaning, with their text in colours.

import { h, replace } from "../dom.js";
import { codeIndexes } from "../indexlist.js";
import { pieces } from "../marks.js";
import { breakdown, glance } from "../score.js";
import { mountSearch } from "../searchpage.js";
import { lines } from "../tokens.js";
import { badge, button, copyIcon } from "../ui.js";

// Longer code is shown in part first.
const SHOWN = 18;

/** Where the marked words stand in the code. */
function marksOf(hit) {
  const marks = [];
  for (const fragment of (hit.highlights && hit.highlights.code) || []) {
    const found = pieces(fragment);
    let at = hit.document.code.indexOf(found.map((piece) => piece.text).join(""));
    if (at < 0) continue;
    for (const { text, marked } of found) {
      if (marked) marks.push({ start: at, end: at + text.length });
      at += text.length;
    }
  }
  return marks.sort((a, b) => a.start - b.start);
}

/** The first line that matters: of the passage whose vector was nearest, or of a marked word. */
function telling(hit, marks) {
  const lineAt = (place) => hit.document.code.slice(0, place).split("\n").length - 1;
  const place = hit.passage && hit.passage.number > 1 && hit.passage.places.find((one) => one.field === "code");
  if (place) return lineAt(place.start);
  return marks.length ? lineAt(marks[0].start) : 0;
}

function lineNode(parts, number) {
  return h("span", { class: "code-line", dataset: { line: String(number) } }, parts.map(({ kind, marked, text }) => {
    const coloured = kind ? h("span", { class: `tok-${kind}` }, text) : text;
    return marked ? h("mark", {}, coloured) : coloured;
  }), "\n");
}

function codeBlock(hit) {
  const { code, language, symbol } = hit.document;
  const first = hit.document.first_line || 1;
  const marks = marksOf(hit);
  const all = lines(code.replace(/\n$/, ""), language, marks);
  const block = h("code", {});
  const draw = (from, to) => replace(block, all.slice(from, to).map((parts, i) => lineNode(parts, first + from + i)));
  const long = all.length > SHOWN + 6;
  // From the beginning where that shows what matters as well.
  const from = long && telling(hit, marks) >= SHOWN - 4 ? Math.min(telling(hit, marks) - 2, all.length - SHOWN) : 0;
  draw(from, long ? from + SHOWN : all.length);
  const more = long && button(`Show all ${all.length} lines`, { kind: "plain small", "aria-expanded": "false" });
  if (more) {
    more.addEventListener("click", () => {
      const open = more.getAttribute("aria-expanded") === "true";
      more.setAttribute("aria-expanded", String(!open));
      more.textContent = open ? `Show all ${all.length} lines` : "Show less";
      if (open) draw(from, from + SHOWN);
      else draw(0, all.length);
    });
  }
  return [h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": `Code of ${symbol}` }, block), more && h("div", { class: "code-more" }, more)];
}

function codeHit(hit, rank, definition, scale) {
  const { path, lines: span, symbol, kind, language, repository, code } = hit.document;
  const place = `${path}${hit.document.first_line ? `:${hit.document.first_line}` : ""}`;
  return h(
    "article",
    { class: "card hit code-hit", tabindex: "-1", dataset: { hit: hit.id }, "aria-label": `Hit ${rank}: ${symbol || path}` },
    h("span", { class: "hit-rank", "aria-hidden": "true" }, rank),
    h(
      "div",
      { class: "hit-main" },
      h("h2", { class: "hit-title mono" }, symbol || path),
      h("p", { class: "code-place" }, h("code", {}, path), span && h("span", { class: "muted" }, ` lines ${span}`), copyIcon(place, "Copy the place")),
      h("p", { class: "badges" }, [kind, language].filter(Boolean).map((text) => badge(text)), repository && badge(repository, "accent")),
    ),
    h("div", { class: "hit-score" }, glance(hit, scale)),
    h("div", { class: "code-body" }, code ? codeBlock(hit) : h("p", { class: "muted" }, "This document holds no code.")),
    breakdown(hit),
  );
}

const KIND = {
  title: "Code",
  lead: "Functions, methods and types, by words, by the words of names, and by meaning.",
  placeholder: "what it does, or what it is called",
  filterExample: 'language = "rust" AND path STARTS WITH "src/"',
  indexes: codeIndexes,
  highlight: { fields: ["code"], max_chars: 10000 },
  hit: codeHit,
  none: {
    title: "There is no index of code yet",
    text: "Load a folder of source code, then search it here.",
    command: "gleaner ingest code --code . --create",
  },
};

export const page = { id: "code", title: "Code", icon: "code", mount: (root, context) => mountSearch(KIND, root, context) };
