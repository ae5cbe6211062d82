// Indexes: what there is, how large it is, and whether the server is ready.

import { at, get, probe } from "../api.js";
import { h, replace } from "../dom.js";
import { bytes, instant, plural, whole } from "../format.js";
import { icon } from "../icons.js";
import { badge, button, empty, errorBox, figures, loading, pageHead } from "../ui.js";

function mount(root, { signal, go }) {
  const health = h("div", { class: "results" });
  const results = h("div", { class: "results" }, loading());
  let shown = new URLSearchParams();
  replace(root, pageHead("Indexes", "What is there to be searched, and how the server is.", button("Refresh", { symbol: "retry", onclick: () => update(shown) })), health, results);

  async function update(params) {
    shown = params;
    look(health, signal);
    try {
      const name = params.get("name");
      const content = name ? await one(name, go, signal) : await all(go, signal);
      replace(results, content);
    } catch (error) {
      if (error.name !== "AbortError") replace(results, errorBox(error, () => update(params)));
    }
  }

  return { update };
}

/** Whether it is ready, and what its health says. */
async function look(node, signal) {
  try {
    const [ready, alive] = await Promise.all([probe("/ready", signal), probe("/health", signal)]);
    const reasons = ready.body.reasons || [];
    const warnings = alive.body.warnings || [];
    replace(
      node,
      ready.body.ready
        ? h("p", { class: "notice good" }, icon("check"), h("span", {}, h("strong", {}, "Ready. "), `Gleaner ${alive.body.version || ""} answers; every index is open and every model has run.`))
        : h("div", { class: "notice" }, icon("warning"), h("div", {}, h("strong", {}, "Not ready yet."), h("ul", {}, reasons.map((reason) => h("li", {}, reason))))),
      warnings.length > 0 && h("div", { class: "notice" }, icon("warning"), h("ul", {}, warnings.map((warning) => h("li", {}, String(warning))))),
    );
  } catch (error) {
    if (error.name !== "AbortError") replace(node, errorBox(error));
  }
}

async function all(go, signal) {
  const { indexes } = await get("/v1/indexes", signal);
  if (!indexes.length) {
    return [empty("There is no index yet", "Describe one in a TOML file, create it, and load documents into it."), h("pre", { class: "card command" }, "gleaner index create indexes/articles.toml\ngleaner ingest articles sample/articles.parquet")];
  }
  const aliases = await get("/v1/aliases", signal).then((found) => found.aliases, () => ({}));
  return h("ul", { class: "index-list" }, indexes.map((index) => {
    const names = Object.entries(aliases).filter(([, target]) => target === index.name).map(([alias]) => alias);
    const { stats } = index;
    return h(
      "li",
      { class: "card card-body index", tabindex: "-1", dataset: { hit: index.name } },
      h("div", { class: "index-head" }, h("h2", {}, h("button", { type: "button", class: "link", onclick: () => go({ name: index.name }) }, index.name)), stats ? badge("open", "good") : badge("not open", "warn"), names.map((name) => badge(`also ${name}`, "accent"))),
      index.description && h("p", { class: "muted" }, index.description),
      stats ? figures(sizes(stats)) : h("p", { class: "muted" }, "It is being opened, or cannot be: the lines above say which."),
    );
  }));
}

function sizes(stats) {
  const behind = stats.durable_seq - stats.visible_seq;
  return [
    ["documents", stats.documents],
    ["passages", stats.passages],
    ["memory of vectors", bytes(stats.vector_bytes)],
    ["dimensions", stats.dimensions ? whole(stats.dimensions) : "–"],
    ["writes not visible yet", whole(behind)],
  ];
}

/** One index: its figures, fields and feedback. */
async function one(name, go, signal) {
  const { definition, stats } = await get(`/v1/indexes/${at(name)}`, signal);
  const [feedback, tasks] = await Promise.all([
    get(`/v1/indexes/${at(name)}/feedback`, signal).catch(() => null),
    get("/v1/tasks", signal).then((found) => found.tasks.filter((task) => task.index === name), () => []),
  ]);
  const { embedding, search } = definition;
  return [
    h("p", {}, button("All indexes", { kind: "plain small", onclick: () => go({}) })),
    h("section", { class: "card card-body index" }, h("div", { class: "index-head" }, h("h2", {}, definition.name), definition.name !== name && badge(`by its alias ${name}`, "accent")), definition.description && h("p", { class: "muted" }, definition.description), stats && figures(sizes(stats))),
    h("section", { class: "card card-body" }, h("h2", {}, "Fields"), fieldTable(definition)),
    h(
      "section",
      { class: "card card-body" },
      h("h2", {}, "How it is searched"),
      figures([
        ["mode", search ? search.mode : "–"],
        ["fusion", search && search.fusion ? search.fusion.method : "–"],
        ["candidates", search ? whole(search.candidates) : "–"],
        ["encoder", embedding ? embedding.model : "none"],
        ["encoded fields", embedding && embedding.fields ? embedding.fields.join(", ") : "–"],
        ["re-ranked by", search && search.rerank ? search.rerank.model : "nothing"],
      ]),
    ),
    feedback && h("section", { class: "card card-body" }, h("h2", {}, "Feedback"), figures([["judgments", feedback.events.judgments], ["impressions", feedback.events.impressions], ["clicks", feedback.events.clicks], ["combiner", feedback.combiner.active ? `version ${feedback.combiner.active}` : "as shipped"]])),
    tasks.length > 0 && h("section", { class: "card card-body" }, h("h2", {}, "Long work"), h("ul", {}, tasks.slice(0, 10).map((task) => h("li", {}, badge(task.state, { done: "good", failed: "bad" }[task.state] || "accent"), ` ${task.kind}, begun ${instant(task.started)}`)))),
    h("details", { class: "fold card card-body" }, h("summary", {}, "Definition as JSON"), h("pre", { class: "block", tabindex: "0" }, JSON.stringify(definition, null, 2))),
  ];
}

function fieldTable(definition) {
  const rows = Object.entries(definition.fields);
  return h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": plural(rows.length, "field") }, h(
    "table",
    { class: "compact" },
    h("thead", {}, h("tr", {}, ["field", "type", "holds", "weight", "language"].map((head, i) => h("th", { scope: "col", class: i === 3 ? "number" : "" }, head)))),
    h("tbody", {}, rows.map(([name, field]) => h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", {}, name)),
      h("td", {}, field.type),
      h("td", {}, [field.required && "required", field.many && "many values"].filter(Boolean).join(", ") || "–"),
      h("td", { class: "number" }, field.type === "text" ? field.weight : "–"),
      h("td", {}, field.type === "text" && field.analysis ? field.analysis.language : "–"),
    ))),
  ));
}

export const page = { id: "indexes", title: "Indexes", icon: "indexes", mount };
