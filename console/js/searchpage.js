// A page that asks one index: documents and code are searched alike, and shown differently.

import { at, definitionOf, post } from "./api.js";
import { h, replace } from "./dom.js";
import * as filters from "./filters.js";
import { offer } from "./indexlist.js";
import { chips, facetPanel, notices, pager, summaryLine, totalText } from "./results.js";
import { scaleOf } from "./score.js";
import { announce, empty, errorBox, field, loading, pageHead, segmented, select } from "./ui.js";

const SIZE = 10;
const MODES = [["", "Default"], ["hybrid", "Both"], ["lexical", "Words"], ["dense", "Vectors"]];

/**
 * Mounts it. `kind` says what differs: `title`, `lead`, `placeholder`, `filterExample`; `indexes`, an
 * async function that lists those to choose from; `highlight`, of the request; `hit`, which draws
 * one; `none`, what to say where there is no index: a title, a text and a command.
 */
export function mountSearch(kind, root, { signal, go }) {
  const index = select([["", "…"]], "", { onchange: () => submit() });
  const query = h("input", { type: "search", autocomplete: "off", spellcheck: "false", placeholder: kind.placeholder, "data-query": true });
  const filter = h("input", { type: "text", class: "mono", autocomplete: "off", spellcheck: "false", placeholder: kind.filterExample });
  const mode = segmented("Found by", MODES, "", () => submit());
  const results = h("div", { class: "results" });
  let names = null;
  let chosen = [];
  let running = null;

  const form = h(
    "form",
    { class: "query-form card", role: "search", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div", { class: "query-row" }, field("Index", index), field("Query", query, { wide: true }), h("button", { type: "submit", class: "button primary" }, "Search")),
    h("div", { class: "query-row" }, mode.node, field("Filter", filter, { wide: true })),
  );
  replace(root, pageHead(kind.title, kind.lead), form, results);

  const values = () => ({ index: index.value, q: query.value.trim(), mode: mode.value, filter: filter.value.trim() });
  function submit() {
    // A new index has other fields: what was clicked belongs to the old one.
    const same = index.value === new URLSearchParams(location.hash.split("?")[1]).get("index");
    go({ ...values(), f: same ? chosen : [] });
  }
  const toggle = (one) => go({ ...values(), f: chosen.includes(one) ? chosen.filter((other) => other !== one) : [...chosen, one] });

  async function update(params) {
    if (running) running.abort();
    running = new AbortController();
    const focused = focusIn(results);
    const asked = AbortSignal.any([signal, running.signal]);
    query.value = params.get("q") || "";
    filter.value = params.get("filter") || "";
    mode.value = params.get("mode") || "";
    chosen = params.getAll("f");
    // What was there stays until the answer comes, unless that takes long.
    const slow = setTimeout(() => replace(results, loading("Searching")), 400);
    const page = Math.max(1, Number.parseInt(params.get("page"), 10) || 1);
    try {
      names = names || await kind.indexes(asked);
      const name = offer(index, names, params.get("index") || index.value);
      if (!name) {
        replace(results, empty(kind.none.title, kind.none.text), h("pre", { class: "card command" }, kind.none.command));
        return;
      }
      if (!query.value.trim()) {
        replace(results, empty("What do you look for?", "Type a query and press Enter. The / key brings you back to it."));
        return;
      }
      await search(name, page, asked);
      refocus(results, focused);
    } catch (error) {
      if (error.name === "AbortError") return;
      replace(results, errorBox(error, () => update(params)));
    } finally {
      clearTimeout(slow);
    }
  }

  async function search(name, page, asked) {
    const definition = await definitionOf(name);
    const written = filters.all(filter.value, chosen);
    const request = { query: query.value, k: SIZE, offset: (page - 1) * SIZE, explain: true, highlight: kind.highlight, facets: filters.wanted(definition) };
    if (mode.value) request.mode = mode.value;
    if (written) request.filter = written;
    show(await post(`/v1/indexes/${at(name)}/search`, request, asked), definition, page, Boolean(written));
  }

  function show(answer, definition, page, filtered) {
    const scale = scaleOf(answer.hits);
    const facets = filters.worthwhile(definition, answer.facets, answer.total.value, chosen);
    const panel = facetPanel(facets, chosen, toggle);
    const list = answer.hits.length
      ? answer.hits.map((hit, i) => kind.hit(hit, (page - 1) * SIZE + i + 1, definition, scale))
      : empty("Nothing found", filtered ? "No document matches the query and passes the filter." : "No document matches the query. Other words, or vectors, may find something.");
    replace(
      results,
      notices(answer),
      chips(chosen, toggle),
      summaryLine(answer, filtered),
      h("div", { class: panel ? "with-aside" : "" }, h("div", { class: "hits" }, list, pager(page, SIZE, answer, (next) => { go({ ...values(), f: chosen, page: next }); window.scrollTo(0, 0); })), panel),
    );
    announce(`${totalText(answer, filtered)}, ${answer.hits.length} shown`);
  }

  return { update };
}

/** What has the focus among the results, which are about to be made anew. */
function focusIn(results) {
  const active = document.activeElement;
  if (!results.contains(active)) return null;
  return active.closest(".pager") ? { turned: true } : { condition: active.dataset.condition };
}

/** Gives it to what stands in its place: who works with the keyboard goes on from there. */
function refocus(results, focused) {
  if (!focused) return;
  const same = focused.condition && [...results.querySelectorAll("[data-condition]")].find((node) => node.dataset.condition === focused.condition);
  const next = same || results.querySelector("[data-hit]");
  if (next) next.focus({ preventScroll: true });
}
