// One side of a comparison: how its search is made. Values are texts, as an address holds them.

import { h, replace } from "./dom.js";
import { field, segmented, select } from "./ui.js";

const MODES = [["hybrid", "Both"], ["lexical", "Words"], ["dense", "Vectors"]];
const FUSIONS = [["learned", "learned"], ["minmax", "min-max, by weight"], ["rrf", "reciprocal ranks"]];
const TENTHS = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"];

/** The part of a request that the values stand for. */
export function requestOf({ mode, fusion, words, rerank, weight, depth }) {
  const request = { mode };
  if (mode === "hybrid") {
    request.fusion = { method: fusion };
    if (fusion !== "learned") {
      request.fusion.lexical = Number(words);
      request.fusion.dense = Math.round((1 - Number(words)) * 100) / 100;
    }
  }
  // Indexes may re-rank by default: what is compared is what is shown here.
  request.rerank = rerank ? { model: rerank, depth: Number(depth) } : false;
  if (rerank && weight) request.rerank.weight = Number(weight);
  return request;
}

/** The values in words. */
export function summary({ mode, fusion, words, rerank, weight }) {
  const legs = { lexical: "words alone", dense: "vectors alone" }[mode];
  const fused = { learned: "both, learned", minmax: `both, min-max, words ${words}`, rrf: `both, reciprocal ranks, words ${words}` }[fusion];
  return `${legs || fused}${rerank ? `, re-ranked${weight ? ` by ${weight}` : ""}` : ""}`;
}

/** Controls for one side. `changed` is called when a value is. */
export function settingsPanel(title, changed) {
  const body = h("div", { class: "settings-body" });
  const mode = segmented("Found by", MODES, "hybrid", () => { arrange(); changed(); });
  const fusion = select(FUSIONS, "learned", { onchange: () => { arrange(); changed(); } });
  const words = h("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0.5", oninput: () => showWords(), onchange: changed });
  const wordsLabel = h("output", {});
  const rerank = select([["", "off"]], "", { onchange: () => { arrange(); changed(); } });
  const weight = select([["", "as recommended"], ...TENTHS.map((tenth) => [tenth, tenth])], "", { onchange: changed });
  const depth = select(["10", "20", "50", "100"].map((count) => [count, `first ${count}`]), "20", { onchange: changed });
  const fusionField = field("Fused by", fusion);
  const wordsField = field("Weight of the words", words);
  wordsField.querySelector("label").append(" ", wordsLabel);
  const weightField = field("Weight of the reranker", weight);
  const depthField = field("Reads", depth);

  function showWords() {
    wordsLabel.textContent = Number(words.value).toFixed(2);
  }

  // Only what makes a difference is shown.
  function arrange() {
    fusionField.hidden = mode.value !== "hybrid";
    wordsField.hidden = mode.value !== "hybrid" || fusion.value === "learned";
    weightField.hidden = !rerank.value;
    depthField.hidden = !rerank.value;
  }

  replace(body, mode.node, fusionField, wordsField, field("Re-rank", rerank), weightField, depthField);
  const node = h("fieldset", { class: "settings card" }, h("legend", { class: "sr-only" }, `Setting ${title}`), h("p", { class: `settings-title side-${title.toLowerCase()}`, "aria-hidden": "true" }, title), body);
  return {
    node,
    get values() {
      return { mode: mode.value, fusion: fusion.value, words: words.value, rerank: rerank.value, weight: weight.value, depth: depth.value };
    },
    set values(given) {
      mode.value = given.mode;
      fusion.value = given.fusion;
      words.value = given.words;
      weight.value = given.weight;
      depth.value = given.depth;
      if (given.rerank && ![...rerank.options].some((option) => option.value === given.rerank)) rerank.append(h("option", { value: given.rerank }, given.rerank));
      rerank.value = given.rerank;
      showWords();
      arrange();
    },
    offer(rerankers) {
      const kept = rerank.value;
      replace(rerank, h("option", { value: "" }, rerankers.length ? "off" : "off (no reranker is there)"), rerankers.map((name) => h("option", { value: name }, name)));
      rerank.value = rerankers.includes(kept) ? kept : "";
      arrange();
    },
  };
}

const DEFAULTS = { mode: "hybrid", fusion: "learned", words: "0.5", rerank: "", weight: "", depth: "20" };

/** The values of a side out of an address, in which `a.mode` is the mode of side A. */
export function fromParams(params, side, defaults) {
  const values = { ...DEFAULTS, ...defaults };
  for (const name of Object.keys(values)) if (params.has(`${side}.${name}`)) values[name] = params.get(`${side}.${name}`);
  return values;
}

export function toParams(values, side) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "").map(([name, value]) => [`${side}.${name}`, value]));
}
