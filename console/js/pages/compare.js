// Compare: one query under two settings, side by side, and which of them people find better.

import { asError, at, definitionOf, get, post } from "../api.js";
import { titleOf } from "../documents.js";
import { h, replace } from "../dom.js";
import { milliseconds, plural } from "../format.js";
import { icon } from "../icons.js";
import { indexNames, offer } from "../indexlist.js";
import { judgments, ndcg, remember } from "../ndcg.js";
import { pictures } from "../pictures.js";
import { rememberRuns, runOf, settingOf } from "../runs.js";
import { glance, scaleOf } from "../score.js";
import { fromParams, requestOf, settingsPanel, summary, toParams } from "../settings.js";
import { announce, empty, errorBox, field, loading, pageHead, select, toast } from "../ui.js";

const SHOWN = 10;
// Asked for deeper than shown, so that a rank far down is known as well.
const ASKED = 50;
const SIDES = ["a", "b"];

function mount(root, { signal, go }) {
  const index = select([["", "…"]], "", { onchange: () => submit() });
  const query = h("input", { type: "search", autocomplete: "off", spellcheck: "false", placeholder: "what both settings are asked", "data-query": true });
  const filter = h("input", { type: "text", class: "mono", autocomplete: "off", spellcheck: "false", placeholder: "a filter for both" });
  const panels = { a: settingsPanel("A", () => submit()), b: settingsPanel("B", () => submit()) };
  const results = h("div", { class: "results" });
  let names = null;
  let running = null;

  const form = h(
    "form",
    { class: "compare-form", role: "search", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div", { class: "query-form card" }, h("div", { class: "query-row" }, field("Index", index), field("Query", query, { wide: true }), field("Filter", filter, { wide: true }), h("button", { type: "submit", class: "button primary" }, "Compare"))),
    h("div", { class: "sides" }, panels.a.node, panels.b.node),
  );
  replace(root, pageHead("Compare", "One query under two settings. Judge what you see, and the better order shows."), form, results);

  function submit() {
    go({ index: index.value, q: query.value.trim(), filter: filter.value.trim(), ...toParams(panels.a.values, "a"), ...toParams(panels.b.values, "b") });
  }

  async function update(params) {
    if (running) running.abort();
    running = new AbortController();
    const asked = AbortSignal.any([signal, running.signal]);
    query.value = params.get("q") || "";
    filter.value = params.get("filter") || "";
    panels.a.values = fromParams(params, "a", {});
    panels.b.values = fromParams(params, "b", { mode: "lexical" });
    const slow = setTimeout(() => replace(results, loading("Asking both")), 400);
    try {
      if (!names) {
        const [found, models] = await Promise.all([indexNames(asked), get("/v1/models", asked).catch(() => ({ data: [] }))]);
        names = found;
        for (const side of SIDES) panels[side].offer(models.data.filter((model) => model.kind === "reranker").map((model) => model.id));
      }
      const name = offer(index, names, params.get("index") || index.value);
      if (!name) replace(results, empty("There is no index yet", "Create one and load documents into it first."));
      else if (!query.value.trim()) replace(results, empty("Ask both", "Type a query, choose two settings, and compare. What you judge is then drawn below the hits."));
      else await compare(name, asked);
    } catch (error) {
      if (error.name !== "AbortError") replace(results, errorBox(error, () => update(params)));
    } finally {
      clearTimeout(slow);
    }
  }

  async function compare(name, asked) {
    const definition = await definitionOf(name);
    const text = query.value.trim();
    const queries = SIDES.map((side) => {
      const request = { query: text, k: ASKED, explain: true, highlight: { max_chars: 200 }, ...requestOf(panels[side].values) };
      if (filter.value.trim()) request.filter = filter.value.trim();
      return request;
    });
    const { results: answers } = await post(`/v1/indexes/${at(name)}/search`, { queries }, asked);
    show(name, definition, text, filter.value.trim(), answers);
  }

  function show(name, definition, text, filtered, answers) {
    const grades = judgments(name, text);
    const lists = answers.map((answer) => (answer.hits || []).map((hit) => hit.id));
    const refreshers = [];
    const refresh = () => { for (const one of refreshers) one(); };

    async function judge(id, grade) {
      const before = grades.get(id);
      if (before === grade) return;
      grades.set(id, grade);
      refresh();
      try {
        await post("/v1/feedback", { index: name, events: [{ type: "judgment", query: text, id, grade }] }, signal);
        remember(name, text, grades);
      } catch (error) {
        if (before === undefined) grades.delete(id);
        else grades.set(id, before);
        refresh();
        if (error.name !== "AbortError") toast(`Not kept: ${error.message}`, "bad");
      }
    }

    const columns = answers.map((answer, i) => {
      if (answer.error) return h("section", { class: "side", "aria-label": `Side ${"AB"[i]}` }, errorBox(asError(answer.error)));
      return column("AB"[i], answer, definition, lists[i], lists[1 - i], panels[SIDES[i]].values, grades, judge, refreshers);
    });
    const drawn = answers.some((answer) => answer.error) ? null : drawings(name, text, filtered, answers, grades);
    if (drawn) refreshers.push(drawn.update);
    replace(results, verdict(lists, grades, refreshers, drawn && drawn.node), h("div", { class: "sides" }, columns), drawn && drawn.node);
    refresh();
    announce("Both sides are shown.");
  }

  /** Pictures of this answer and of those before it in this tab, under the same filter. */
  function drawings(name, text, filtered, answers, grades) {
    const made = SIDES.map((side, i) => runOf(name, text, filtered, panels[side].values, answers[i]));
    const runs = rememberRuns(made).filter((run) => run.index === name && run.filter === filtered);
    return pictures({
      query: text,
      names: Object.fromEntries(SIDES.map((side) => [side, summary(panels[side].values)])),
      settings: Object.fromEntries(SIDES.map((side) => [side, settingOf(panels[side].values)])),
      runs,
      gradesOf: (query) => (query === text ? grades : judgments(name, query)),
    });
  }

  return { update };
}

/** What both lists have in common, and which is better by what was judged. */
function verdict(lists, grades, refreshers, drawn) {
  const [a, b] = lists.map((list) => list.slice(0, SHOWN));
  const common = a.filter((id) => b.includes(id)).length;
  const seen = new Set([...a, ...b]);
  const line = h("p", { role: "status" });
  const way = drawn && h("button", { type: "button", class: "link", onclick: () => { drawn.scrollIntoView(); drawn.focus({ preventScroll: true }); } }, "See it drawn");
  refreshers.push(() => {
    const judged = [...seen].filter((id) => grades.has(id)).length;
    const [first, second] = [ndcg(a, grades), ndcg(b, grades)];
    if (way) way.hidden = !judged;
    let text = "Judge hits as relevant or not to see which order is better.";
    if (first === null && judged) text = "Nothing is judged relevant yet.";
    else if (first !== null) {
      const gap = Math.abs(first - second);
      text = gap < 0.0005 ? "By what was judged, both are level." : `By what was judged, ${first > second ? "A" : "B"} is better by ${gap.toFixed(3)}.`;
    }
    replace(line, h("strong", {}, text), ` ${common} of the first ${SHOWN} are on both sides; ${judged} of ${plural(seen.size, "document")} judged.`);
  });
  return h("div", { class: "verdict card" }, line, way);
}

function column(label, answer, definition, own, other, values, grades, judge, refreshers) {
  const hits = answer.hits.slice(0, SHOWN);
  const scale = scaleOf(answer.hits);
  const figure = h("dd", { class: "ndcg" });
  refreshers.push(() => {
    const value = ndcg(own, grades, SHOWN);
    figure.textContent = value === null ? "–" : value.toFixed(3);
  });
  return h(
    "section",
    { class: "side", "aria-label": `Side ${label}` },
    h(
      "div",
      { class: "side-head" },
      h("h2", {}, h("span", { class: `side-letter side-${label.toLowerCase()}` }, label), summary(values)),
      h("dl", {}, h("div", {}, h("dt", {}, "nDCG@10"), figure), h("div", {}, h("dt", {}, "time"), h("dd", {}, milliseconds(answer.timings.total_ms)))),
    ),
    (answer.degraded || []).map((one) => h("p", { class: "notice" }, icon("warning"), `Without ${one.lost}: ${one.reason}`)),
    hits.length
      ? h("ol", { class: "compare-list card" }, hits.map((hit, i) => row(hit, i + 1, other, definition, scale, grades, judge, refreshers)))
      : empty("Nothing found", "No document matches under this setting."),
  );
}

/** How far a hit has moved, seen from here: up is better here than on the other side. */
function movement(rank, other, id) {
  const there = other.indexOf(id) + 1;
  if (!there) return h("span", { class: "move new" }, "only here");
  if (there === rank) return h("span", { class: "move same" }, "=", h("span", { class: "sr-only" }, "same rank on the other side"));
  const up = there > rank;
  return h(
    "span",
    { class: `move ${up ? "up" : "down"}`, title: `rank ${there} on the other side` },
    icon(up ? "up" : "down"),
    Math.abs(there - rank),
    h("span", { class: "sr-only" }, `${up ? "higher" : "lower"} than on the other side, where it is ${there}`),
  );
}

function row(hit, rank, other, definition, scale, grades, judge, refreshers) {
  const title = titleOf(hit, definition);
  const name = title.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  const choices = [["check", 1, "Relevant"], ["close", 0, "Not relevant"]].map(([symbol, grade, text]) =>
    h("button", { type: "button", class: `judge grade-${grade}`, "aria-label": `${text}: ${name}`, title: text, onclick: () => judge(hit.id, grade) }, icon(symbol)));
  const node = h(
    "li",
    { class: "compare-row", tabindex: "-1", dataset: { hit: hit.id } },
    h("span", { class: "hit-rank" }, rank),
    h("div", { class: "compare-text" }, h("p", { class: "compare-title" }, title), glance(hit, scale)),
    h("div", { class: "compare-side" }, movement(rank, other, hit.id), h("div", { class: "judges", role: "group", "aria-label": "Judge" }, choices)),
  );
  refreshers.push(() => {
    const grade = grades.get(hit.id);
    choices.forEach((choice, i) => choice.setAttribute("aria-pressed", String(grade === 1 - i)));
    node.classList.toggle("relevant", grade === 1);
    node.classList.toggle("irrelevant", grade === 0);
  });
  return node;
}

export const page = { id: "compare", title: "Compare", icon: "compare", mount };
