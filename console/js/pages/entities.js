// Entities: which stretches of a text are mentions, and which entity each of them means.

import { at, get, post } from "../api.js";
import { h, replace } from "../dom.js";
import { percent, plural, score } from "../format.js";
import { icon } from "../icons.js";
import { announce, badge, bar, button, empty, errorBox, field, loading, pageHead, segmented, select, setOptions } from "../ui.js";

const EXAMPLE = "The Amazon is a river in Brazil. Freddie Mercury never sang there.";
const MENTIONS = [["capitalized", "With a capital letter"], ["all", "All names"]];

function mount(root, { signal, go }) {
  const catalog = select([["", "…"]], "");
  const text = h("textarea", { rows: "3", placeholder: EXAMPLE, "data-query": true });
  const mentions = segmented("Mentions", MENTIONS, "capitalized");
  const results = h("div", { class: "results" });
  let catalogs = null;
  let running = null;

  const form = h(
    "form",
    { class: "query-form card", onsubmit: (event) => { event.preventDefault(); go(values()); } },
    field("Text", text, { wide: true }),
    h("div", { class: "query-row" }, field("Catalog", catalog), mentions.node, h("span", { class: "grow" }), h("button", { type: "submit", class: "button primary" }, "Link")),
  );
  // Enter begins a line in a text; with Ctrl it sends, as elsewhere on the web.
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  replace(root, pageHead("Entities", "Which names of a catalog a text speaks of, and how surely."), form, results);

  // Long texts do not fit an address: they are kept here and only short ones are in it.
  let long = "";
  const values = () => {
    long = text.value.length > 1500 ? text.value : "";
    return { catalog: catalog.value, mentions: mentions.value === "all" ? "all" : "", text: long ? "" : text.value, long: long ? "1" : "" };
  };

  async function update(params) {
    if (running) running.abort();
    running = new AbortController();
    const asked = AbortSignal.any([signal, running.signal]);
    mentions.value = params.get("mentions") || "capitalized";
    text.value = params.get("long") ? long : params.get("text") || "";
    const slow = setTimeout(() => replace(results, loading("Linking")), 400);
    try {
      if (!catalogs) {
        catalogs = (await get("/v1/entities", asked)).catalogs;
        setOptions(catalog, catalogs.length ? catalogs.map((one) => [one.catalog, `${one.catalog} (${plural(one.names, "name")})`]) : [["", "no catalog"]], "");
        catalog.disabled = !catalogs.length;
      }
      const wanted = params.get("catalog");
      if (wanted && catalogs.some((one) => one.catalog === wanted)) catalog.value = wanted;
      if (!catalogs.length) {
        replace(results, empty("There is no catalog yet", "Build one of a file of names, then link texts to it here."), h("pre", { class: "card command" }, "gleaner entities build sample --names sample/entities.jsonl"));
      } else if (!text.value.trim()) {
        replace(results, empty("Which text?", "Paste one above, or take a short example.", button("Use the example", { onclick: () => { text.value = EXAMPLE; go(values()); } })));
      } else await link(asked);
    } catch (error) {
      if (error.name !== "AbortError") replace(results, errorBox(error, () => update(params)));
    } finally {
      clearTimeout(slow);
    }
  }

  async function link(asked) {
    const written = text.value;
    show(written, await post("/v1/entities:link", { catalog: catalog.value, text: written, mentions: mentions.value, alternatives: 4 }, asked));
  }

  function show(written, answer) {
    const linked = answer.mentions.filter((mention) => mention.entity).length;
    const detail = h("div", { class: "card card-body mention-detail" });
    const spans = [];
    const choose = (i) => {
      spans.forEach((span, at) => span.setAttribute("aria-pressed", String(at === i)));
      details(detail, catalog.value, answer.mentions[i], signal);
    };
    const found = `${plural(answer.mentions.length, "mention")}, ${linked} linked`;
    replace(
      results,
      answer.degraded && h("p", { class: "notice" }, icon("warning"), h("span", {}, h("strong", {}, `Without the ${answer.degraded.lost}: `), answer.degraded.reason)),
      h("div", { class: "summary-line" }, h("p", {}, h("strong", {}, found))),
      answer.mentions.length
        ? h("div", { class: "entity-grid" }, h("div", { class: "card card-body linked-text" }, marked(written, answer.mentions, spans, choose)), detail)
        : empty("No mention found", "The catalog has no name that this text contains. With “All names”, those written small count too."),
    );
    if (answer.mentions.length) choose(0);
    announce(found);
  }

  return { update };
}

/** The text with its mentions as buttons. Places count characters, not UTF-16 units. */
function marked(written, mentions, spans, choose) {
  const characters = Array.from(written);
  const nodes = [];
  let at = 0;
  mentions.forEach((mention, i) => {
    nodes.push(characters.slice(at, mention.start).join(""));
    const entity = mention.entity;
    const span = h(
      "button",
      { type: "button", class: `mention ${entity ? "" : "nil"}`, tabindex: "0", dataset: { hit: String(i) }, onclick: () => choose(i) },
      h("span", { class: "mention-text" }, characters.slice(mention.start, mention.end).join("")),
      h("span", { class: "mention-entity" }, entity ? entity.name : "none", h("span", { class: "mention-score" }, entity ? score(entity.score) : score(mention.none))),
    );
    spans.push(span);
    nodes.push(span);
    at = mention.end;
  });
  nodes.push(characters.slice(at).join(""));
  return nodes;
}

/** What a mention could mean. */
function details(node, catalog, mention, signal) {
  const meant = [...(mention.entity ? [mention.entity] : []), ...(mention.alternatives || [])];
  const rows = [...meant.map((entity) => [entity.name, entity.id, entity.score]), ["none of the catalog", "", mention.none]];
  const about = h("p", { class: "muted" });
  replace(
    node,
    h("h2", {}, `“${mention.mention}”`),
    mention.entity ? h("p", {}, "means ", h("strong", {}, mention.entity.name), " ", badge(mention.entity.id, "accent")) : h("p", {}, "means none of the catalog: nothing reaches the threshold."),
    about,
    h("ul", { class: "shares" }, rows.map(([name, id, share], i) =>
      h("li", { class: i === 0 && mention.entity ? "first" : "" }, h("span", {}, name, id && id !== name && h("code", {}, ` ${id}`)), h("span", { class: "share-number" }, percent(share)), bar(share)))),
    h("p", { class: "muted" }, `answered from ${percent(mention.threshold)} on`),
  );
  if (!mention.entity) return;
  get(`/v1/entities/${at(catalog)}/names/${at(mention.entity.id)}`, signal).then(({ names }) => {
    const described = names.find((name) => name.description);
    const others = names.map((name) => name.name).filter((name) => name !== mention.entity.name);
    about.textContent = [described && described.description, others.length && `also ${others.join(", ")}`].filter(Boolean).join("; ");
  }, () => {
    // What it is called is known without that.
  });
}

export const page = { id: "entities", title: "Entities", icon: "entities", mount };
