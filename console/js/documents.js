// A document as a person reads it, whatever its index holds.

import { h } from "./dom.js";
import { nodes } from "./marks.js";
import { breakdown, glance } from "./score.js";

const TITLES = ["title", "name", "headline", "subject", "symbol", "question"];
const SNIPPET = 260;

/** The field that names a document, or null. */
export function titleField(definition) {
  const texts = Object.entries(definition.fields).filter(([, field]) => field.type === "text").map(([name]) => name);
  return TITLES.find((name) => definition.fields[name]) || texts.find((name) => /title|name/i.test(name)) || null;
}

const isText = (definition, name) => Boolean(definition.fields[name]) && definition.fields[name].type === "text";

const asText = (value) => (Array.isArray(value) ? value.join(" … ") : typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value));

function cut(text) {
  const flat = text.replace(/\s+/g, " ").trim();
  if (flat.length <= SNIPPET) return flat;
  const end = flat.lastIndexOf(" ", SNIPPET);
  return `${flat.slice(0, end > 0 ? end : SNIPPET)} …`;
}

/** The document's title as nodes, with marks where there are some. */
export function titleOf(hit, definition) {
  const field = titleField(definition);
  const value = field && asText(hit.document[field]);
  if (!value) return [hit.id];
  const marked = hit.highlights && hit.highlights[field];
  // A fragment may be a part of a long title only.
  if (marked && marked.length === 1 && marked[0].replace(/<\/?em>|&\w+;|&#39;/g, "").length >= value.length * 0.8) return nodes(marked[0]);
  return [value];
}

function snippets(hit, definition) {
  const title = titleField(definition);
  const lines = [];
  for (const [field, fragments] of Object.entries(hit.highlights || {})) {
    if (field === title || !fragments.some((fragment) => fragment.includes("<em>"))) continue;
    lines.push(h("p", { class: "snippet" }, fragments.slice(0, 2).map((fragment, i) => [i > 0 && h("span", { class: "gap" }, " … "), nodes(fragment)])));
    if (lines.length === 2) break;
  }
  if (lines.length) return lines;
  if (hit.passage) return [h("p", { class: "snippet" }, cut(hit.passage.text))];
  const other = Object.keys(hit.document).find((name) => name !== title && isText(definition, name) && hit.document[name]);
  return other ? [h("p", { class: "snippet" }, cut(asText(hit.document[other])))] : [];
}

/** The small values: keywords, numbers, dates. */
function facts(hit, definition) {
  const shown = Object.entries(hit.document).filter(([name, value]) =>
    name !== definition.id_field && name !== titleField(definition) && !isText(definition, name)
    && value !== null && value !== "" && asText(value).length <= 60 && name !== "hash");
  return h("dl", { class: "facts" }, shown.slice(0, 8).map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, Array.isArray(value) ? value.join(", ") : typeof value === "boolean" ? (value ? "yes" : "no") : asText(value)))));
}

/** A hit of a search. */
export function hitCard(hit, rank, definition, scale) {
  return h(
    "article",
    { class: "card hit", tabindex: "-1", dataset: { hit: hit.id }, "aria-label": `Hit ${rank}` },
    h("span", { class: "hit-rank", "aria-hidden": "true" }, rank),
    h(
      "div",
      { class: "hit-main" },
      h("h2", { class: "hit-title" }, titleOf(hit, definition)),
      snippets(hit, definition),
      facts(hit, definition),
      h("p", { class: "hit-id" }, h("code", {}, hit.id)),
    ),
    h("div", { class: "hit-score" }, glance(hit, scale)),
    breakdown(hit),
  );
}
