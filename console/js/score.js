// Where a hit's score comes from: one bar to read at a glance, and all of it in a fold.

import { h } from "./dom.js";
import { score as shown, whole } from "./format.js";

const KINDS = {
  words: "words",
  vectors: "vectors",
  shared: "agreement",
  reranker: "reranker",
};

// docs/ranking.md says what these features are.
const FEATURES = {
  lexical_of_best: "words, beside the best",
  lexical_min_max: "words, first to last",
  lexical_rank: "rank by words",
  covered: "rare words covered",
  dense_min_max: "nearness, first to last",
  dense_of_all: "nearness among all",
  dense_rank: "rank by nearness",
  both: "found by both",
  near_first: "near the first three",
};

function kindOf(feature) {
  if (feature.startsWith("lexical") || feature === "covered") return "words";
  return feature.startsWith("dense") ? "vectors" : "shared";
}

function firstStage(hit) {
  const { lexical, dense, fusion } = hit.explanation;
  if (fusion && fusion.learned) {
    const sums = { words: 0, vectors: 0, shared: 0 };
    for (const feature of fusion.learned.features) sums[kindOf(feature.name)] += feature.contribution;
    return Object.entries(sums).map(([kind, value]) => ({ kind, value }));
  }
  if (fusion) {
    return [
      { kind: "words", value: lexical ? fusion.lexical_weight * (lexical.fused_as || 0) : 0 },
      { kind: "vectors", value: dense ? fusion.dense_weight * (dense.fused_as || 0) : 0 },
    ];
  }
  if (lexical && !dense) return [{ kind: "words", value: lexical.score }];
  if (dense && !lexical) return [{ kind: "vectors", value: dense.score }];
  return [{ kind: "shared", value: hit.score }];
}

/** The parts that add up to the hit's score. */
export function parts(hit) {
  if (!hit.explanation) return [{ kind: "shared", value: hit.score }];
  const first = firstStage(hit);
  const rerank = hit.explanation.rerank;
  if (!rerank || rerank.score_as === undefined || rerank.score_as === null) return first.filter((part) => part.value > 0);
  const sum = first.reduce((all, part) => all + part.value, 0);
  const kept = (1 - rerank.weight) * (rerank.first_as || 0);
  const scaled = first.map((part) => ({ ...part, value: sum > 0 ? (part.value / sum) * kept : 0 }));
  return [...scaled, { kind: "reranker", value: rerank.weight * rerank.score_as }].filter((part) => part.value > 0);
}

/** What the whole width of a bar stands for: 1 where scores are shares, else the best score. */
export function scaleOf(hits) {
  const best = Math.max(0, ...hits.map((hit) => hit.score));
  const fused = hits[0] && hits[0].explanation && hits[0].explanation.fusion;
  const unbounded = best > 1 || (fused && fused.method === "rrf" && !hits[0].explanation.rerank);
  return (unbounded ? best : 1) || 1;
}

function ranks(hit) {
  const { lexical, dense, rerank } = hit.explanation || {};
  const found = [];
  if (lexical && lexical.rank) found.push(`words #${whole(lexical.rank)}`);
  if (dense && dense.rank) found.push(`vectors #${whole(dense.rank)}`);
  if (rerank) found.push(`before re-ranking #${whole(rerank.first_rank)}`);
  return found;
}

/** Score, bar and ranks. */
export function glance(hit, scale) {
  const found = parts(hit);
  const words = found.map((part) => `${KINDS[part.kind]} ${shown(part.value)}`).join(", ");
  return h(
    "div",
    { class: "glance" },
    h("span", { class: "glance-score", title: "score" }, h("span", { class: "sr-only" }, "score "), shown(hit.score)),
    h(
      "span",
      { class: "stack", role: "img", "aria-label": words ? `of it ${words}` : "no parts" },
      found.map((part) => h("span", { class: `stack-part kind-${part.kind}`, title: `${KINDS[part.kind]} ${shown(part.value)}`, css: { width: `${(part.value / scale) * 100}%` } })),
    ),
    h("span", { class: "glance-parts" }, found.map((part) => h("span", {}, h("i", { class: `dot kind-${part.kind}`, "aria-hidden": "true" }), KINDS[part.kind], " ", h("b", {}, shown(part.value))))),
    h("span", { class: "glance-ranks" }, ranks(hit).join(" · ")),
  );
}

function table(caption, heads, rows) {
  return h(
    "div",
    { class: "table-wrap" },
    h(
      "table",
      { class: "compact" },
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: i ? "number" : "" }, head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, i) => (i ? h("td", { class: "number" }, cell) : h("th", { scope: "row" }, cell)))))),
    ),
  );
}

function legs({ lexical, dense, fusion }) {
  const row = (name, leg, weight) => leg && [
    name, leg.rank ? `#${whole(leg.rank)}` : "–", shown(leg.score), shown(leg.fused_as), fusion ? shown(weight) : "–",
  ];
  const rows = [row("words", lexical, fusion && fusion.lexical_weight), row("vectors", dense, fusion && fusion.dense_weight)].filter(Boolean);
  const caption = fusion ? `Legs, fused by ${fusion.method} to ${shown(fusion.score)}` : "Legs";
  return rows.length > 0 && table(caption, ["leg", "rank", "score", "fused as", "weight"], rows);
}

function words(lexical) {
  const clauses = lexical && lexical.detail && lexical.detail.clauses;
  if (!clauses || !clauses.length) return null;
  return table("Words that match", ["word", "in", "times", "documents with it", "score"], clauses.map((clause) => {
    const fields = clause.fields || [];
    return [
      clause.text || clause.kind || "–",
      fields.map((field) => field.field).join(", ") || "–",
      fields.map((field) => whole(field.tf)).join(", ") || "–",
      fields.map((field) => whole(field.df)).join(", ") || "–",
      shown(clause.score),
    ];
  }));
}

function features(learned) {
  if (!learned) return null;
  const most = Math.max(...learned.features.map((feature) => feature.contribution), 1e-9);
  return table("What the learned fusion adds up", ["feature", "value", "weight", "adds"], learned.features.map((feature) => [
    [h("i", { class: `dot kind-${kindOf(feature.name)}`, "aria-hidden": "true" }), FEATURES[feature.name] || feature.name],
    shown(feature.value),
    shown(feature.weight),
    h("span", { class: "with-bar" }, h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: `bar-fill kind-${kindOf(feature.name)}`, css: { width: `${(feature.contribution / most) * 100}%` } })), shown(feature.contribution)),
  ]));
}

function reranked(rerank) {
  if (!rerank) return null;
  return table("Re-ranking", ["", "rank", "score", "counts as", "weight"], [
    ["first stage", `#${whole(rerank.first_rank)}`, shown(rerank.first_score), shown(rerank.first_as), shown(1 - rerank.weight)],
    ["reranker", "–", shown(rerank.score), shown(rerank.score_as), shown(rerank.weight)],
  ]);
}

/** A fold with the whole explanation; made when it is opened first. */
export function breakdown(hit) {
  if (!hit.explanation) return null;
  const { lexical, dense, fusion, rerank } = hit.explanation;
  const body = h("div", { class: "breakdown" });
  const details = h("details", { class: "fold" }, h("summary", {}, "Why this score"), body);
  details.addEventListener("toggle", () => {
    if (!details.open || body.childElementCount) return;
    for (const part of [legs({ lexical, dense, fusion }), reranked(rerank), features(fusion && fusion.learned), words(lexical)]) if (part) body.append(part);
    if (!body.childElementCount) body.append("There is nothing to take apart: hits were listed, not ranked.");
  });
  return details;
}

/** What the colours mean. */
export function legend(hits) {
  const kinds = new Set(hits.flatMap((hit) => parts(hit).map((part) => part.kind)));
  return [...kinds].map((kind) => h("span", {}, h("i", { class: `dot kind-${kind}`, "aria-hidden": "true" }), KINDS[kind]));
}
