// What pages with hits share: the line above them, facets, chosen filters, pages.

import { h } from "./dom.js";
import { condition } from "./filters.js";
import { milliseconds, plural, whole } from "./format.js";
import { icon } from "./icons.js";
import { legend } from "./score.js";
import { button } from "./ui.js";

const STEPS = [["encode_ms", "encoding"], ["filter_ms", "filter"], ["words_ms", "words"], ["vectors_ms", "vectors"], ["fusion_ms", "fusion"], ["rerank_ms", "re-ranking"], ["fetch_ms", "fetching"]];

/** "320 documents pass the filter": what the total counts. */
export function totalText(answer, filtered) {
  const { value, counts } = answer.total;
  if (counts === "matching") return `${plural(value, "document")} ${value === 1 ? "matches" : "match"} the words`;
  return filtered ? `${plural(value, "document")} ${value === 1 ? "passes" : "pass"} the filter, ranked` : `${plural(value, "document")}, ranked`;
}

export function summaryLine(answer, filtered) {
  const steps = STEPS.filter(([key]) => answer.timings[key] >= 0.05).map(([key, text]) => `${text} ${milliseconds(answer.timings[key])}`);
  return h(
    "div",
    { class: "summary-line" },
    h("p", {}, h("strong", {}, totalText(answer, filtered)), " in ", h("strong", {}, milliseconds(answer.timings.total_ms)), steps.length > 0 && h("span", { class: "steps" }, ` ${steps.join(" · ")}`)),
    h("p", { class: "legend" }, legend(answer.hits)),
  );
}

/** What the answer had to do without. */
export function notices(answer) {
  const lost = (answer.degraded || []).map((one) => h("p", { class: "notice", role: "note" }, icon("warning"), h("span", {}, h("strong", {}, `Without ${one.lost}: `), one.reason)));
  return lost;
}

/** Clicked conditions, each of which can be taken away. */
export function chips(chosen, remove) {
  if (!chosen.length) return null;
  return h("ul", { class: "chips", "aria-label": "Chosen filters" }, chosen.map((one) =>
    h("li", {}, h("button", { type: "button", class: "chip", "aria-label": `Remove filter ${one}`, onclick: () => remove(one) }, h("code", {}, one), icon("close")))));
}

function valueText(value) {
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

/** Facets as a fold on narrow screens and a column on wide ones. */
export function facetPanel(facets, chosen, toggle) {
  if (!facets.length) return null;
  const wide = window.matchMedia("(min-width: 1080px)").matches;
  return h(
    "details",
    { class: "facets", open: wide },
    h("summary", {}, "Narrow down"),
    facets.map(({ field, values }) => {
      const most = Math.max(...values.map((value) => value.count));
      return h(
        "section",
        { class: "facet", "aria-label": `Values of ${field}` },
        h("h3", {}, field),
        h("ul", {}, values.map(({ value, count }) => {
          const one = condition(field, value);
          const on = chosen.includes(one);
          return h("li", {}, h(
            "button",
            { type: "button", class: "facet-value", "aria-pressed": String(on), onclick: () => toggle(one), dataset: { facet: field, condition: one } },
            h("span", { class: "facet-share", "aria-hidden": "true", css: { width: `${(count / most) * 100}%` } }),
            h("span", { class: "facet-text" }, valueText(value)),
            h("span", { class: "facet-count" }, h("span", { class: "sr-only" }, ", "), whole(count)),
          ));
        })),
      );
    }),
  );
}

/** Pages before and after; `turn` is given the page's number, from 1. */
export function pager(page, size, answer, turn) {
  const shown = answer.hits.length;
  const first = (page - 1) * size + 1;
  const more = shown === size && (answer.total.value > page * size);
  if (page === 1 && !more) return null;
  return h(
    "nav",
    { class: "pager", "aria-label": "Pages of results" },
    button("Previous", { disabled: page === 1, onclick: () => turn(page - 1) }),
    h("span", {}, shown ? `${whole(first)} to ${whole(first + shown - 1)}` : `page ${page}`),
    button("Next", { disabled: !more, onclick: () => turn(page + 1) }),
  );
}
