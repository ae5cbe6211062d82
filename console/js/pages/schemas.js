// Schemas: the part of a database that a question needs, drawn.

import { at, get, post } from "../api.js";
import { h, replace } from "../dom.js";
import { percent, plural, whole } from "../format.js";
import { draw } from "../graph.js";
import { announce, badge, bar, checkbox, copyButton, empty, errorBox, field, figures, loading, pageHead, segmented, select, setOptions } from "../ui.js";

const ANY = "*";
const MODES = [["minimal", "Little"], ["balanced", "Balanced"], ["conservative", "Much"]];
const REASONS = { linked: "likely enough", value: "the question names a value of it", primary_key: "primary key", foreign_key: "joins kept tables", everything: "the whole schema is kept" };
const MATCHED = { exact: "as it stands", words: "by its words", ngrams: "by its letters", meaning: "by its meaning" };

function mount(root, { signal, go }) {
  const database = select([["", "…"]], "", { onchange: () => submit() });
  const question = h("input", { type: "search", autocomplete: "off", placeholder: "Which customers live in Fremont?", "data-query": true });
  const evidence = h("input", { type: "text", autocomplete: "off", placeholder: "what its words stand for, if that needs saying" });
  const mode = segmented("Keeps", MODES, "balanced", () => submit());
  const results = h("div", { class: "results" });
  let listed = null;
  let running = null;

  const form = h(
    "form",
    { class: "query-form card", role: "search", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div", { class: "query-row" }, field("Database", database), field("Question", question, { wide: true }), h("button", { type: "submit", class: "button primary" }, "Focus")),
    h("div", { class: "query-row" }, mode.node, field("Evidence", evidence, { wide: true })),
  );
  replace(root, pageHead("Schemas", "The tables and columns that a question needs, for who or what writes the SQL."), form, results);

  function submit() {
    go({ db: database.value, q: question.value.trim(), evidence: evidence.value.trim(), mode: mode.value === "balanced" ? "" : mode.value });
  }

  async function update(params) {
    if (running) running.abort();
    running = new AbortController();
    const asked = AbortSignal.any([signal, running.signal]);
    question.value = params.get("q") || "";
    evidence.value = params.get("evidence") || "";
    mode.value = params.get("mode") || "balanced";
    const slow = setTimeout(() => replace(results, loading(question.value ? "Asking" : "Loading")), 400);
    try {
      if (!listed) {
        listed = (await get("/v1/schemas", asked)).schemas;
        const options = listed.map((one) => [one.name, one.name]);
        setOptions(database, listed.length > 1 ? [[ANY, "whichever answers"], ...options] : options.length ? options : [["", "no database"]], "");
        database.disabled = !listed.length;
      }
      const wanted = params.get("db");
      if (wanted && [...database.options].some((option) => option.value === wanted)) database.value = wanted;
      const shown = await content(asked);
      clearTimeout(slow);
      replace(results, shown);
    } catch (error) {
      clearTimeout(slow);
      if (error.name !== "AbortError") replace(results, errorBox(error, () => update(params)));
    }
  }

  async function content(asked) {
    if (!listed.length) {
      return [empty("There is no database yet", "Import the schema of one; its rows are read only as far as you allow."), h("pre", { class: "card command" }, "gleaner schema import shop --sqlite shop.sqlite\ngleaner schema import shop --ddl shop.sql --dialect postgres")];
    }
    const text = question.value.trim();
    if (!text) return database.value === ANY ? catalogue(listed, go) : overview(database.value, asked);
    const request = { question: text, mode: mode.value, strategy: "retrieval" };
    if (evidence.value.trim()) request.evidence = evidence.value.trim();
    if (database.value !== ANY) {
      const focus = await post(`/v1/schemas/${at(database.value)}:retrieve`, request, asked);
      return focused(focus, text, asked);
    }
    const { databases, compared } = await post("/v1/schemas:retrieve", { ...request, databases: 5, schemas: 1 }, asked);
    const best = databases.find((one) => one.schema);
    return [ranking(databases, compared, go, text), best && await focused(best.schema, text, asked)];
  }

  return { update };
}

function catalogue(listed, go) {
  return h("div", { class: "cards" }, listed.map((one) => h(
    "button",
    { type: "button", class: "card card-button", onclick: () => go({ db: one.name }) },
    h("strong", {}, one.name),
    h("span", { class: "muted" }, `${plural(one.tables, "table")}, ${plural(one.columns, "column")}`),
    badge(one.dialect),
  )));
}

/** Which databases answer, the likeliest first. */
function ranking(databases, compared, go, text) {
  return h(
    "section",
    { class: "card card-body" },
    h("h2", {}, "Which database"),
    h("ul", { class: "shares" }, databases.map((one, i) => h(
      "li",
      { class: i ? "" : "first" },
      h("button", { type: "button", class: "link", onclick: () => go({ db: one.database, q: text }) }, one.database),
      h("span", { class: "share-number" }, percent(one.score)),
      bar(one.score),
      h("span", { class: "muted share-note" }, [one.tables && one.tables.slice(0, 4).join(", ")].filter(Boolean)),
    ))),
    h("p", { class: "muted" }, `of ${plural(compared, "database")}; one of them is always the best, even of a question that none answers`),
  );
}

/** The drawing with its controls: it is scrolled inside of its frame, never the page. */
function drawing(tables, keys, label, ...controls) {
  const frame = h("div", { class: "graph-scroll", tabindex: "0", role: "region", "aria-label": "Drawing of the schema" }, draw(tables, keys, label));
  return h("section", { class: "card graph" }, controls.length > 0 && h("div", { class: "graph-tools" }, controls), frame);
}

function titled(table, column) {
  const about = [column.description, column.value_description].filter(Boolean).join("; ");
  const values = (column.values || []).slice(0, 6).join(", ");
  return { ...column, title: [`${table.name}.${column.name}`, column.data_type, about, values && `values: ${values}`].filter(Boolean).join("\n") };
}

/** A whole database, as it was imported. */
async function overview(name, asked) {
  const { database, source } = await get(`/v1/schemas/${at(name)}`, asked);
  const keys = database.foreign_keys || [];
  const columns = database.tables.reduce((sum, table) => sum + table.columns.length, 0);
  // Of a large one only the tables' names and keys can be seen at once.
  const large = database.tables.length > 25;
  const shown = database.tables.slice(0, 120).map((table) => ({ ...table, columns: large ? [] : table.columns.map((column) => titled(table, column)), title: table.description || table.name }));
  announce(`${name}: ${plural(database.tables.length, "table")}`);
  return [
    h("div", { class: "card card-body" }, figures([["tables", database.tables.length], ["columns", columns], ["foreign keys", keys.length], ["dialect", database.dialect], ["from", source]])),
    database.description && h("p", {}, database.description),
    drawing(shown, keys, `${name} with ${plural(database.tables.length, "table")} and ${plural(keys.length, "foreign key")}`, h("p", { class: "muted" }, database.tables.length > 120 ? "The first 120 tables. Ask a question to see what it needs." : "All of it. Ask a question to see the part that it needs.")),
  ];
}

/** The part that a question needs. */
async function focused(focus, text, asked) {
  const entire = await get(`/v1/schemas/${at(focus.database)}`, asked).then((found) => found.database, () => null);
  const kept = new Map(focus.tables.map((table) => [table.name, table]));
  const known = new Map((entire ? entire.tables : []).map((table) => [table.name, table]));
  const values = new Map(focus.matched_values.map((match) => [`${match.table}.${match.column}`, match.value]));
  const tables = focus.tables.map((table) => ({
    ...table,
    primary_key: known.has(table.name) ? known.get(table.name).primary_key : [],
    columns: table.columns.map((column) => ({
      ...column,
      value: values.get(`${table.name}.${column.name}`),
      title: `${table.name}.${column.name} ${column.data_type}\n${percent(column.score)} likely, kept: ${REASONS[column.reason] || column.reason}`,
    })),
  }));
  const left = (entire ? entire.tables : []).filter((table) => !kept.has(table.name));
  const frame = h("div", {});
  const label = `The part of ${focus.database} that the question needs: ${focus.tables.map((table) => table.name).join(", ")}`;
  const all = checkbox(`with ${plural(left.length, "table")} left out`, false, (on) => redraw(on));
  function redraw(on) {
    const dim = on ? left.map((table) => ({ ...table, dim: true, columns: [] })) : [];
    replace(frame, drawing([...tables, ...dim], on && entire ? entire.foreign_keys || [] : focus.foreign_keys, label, h("p", { class: "muted" }, "Shading: how likely a column is needed. Dashed lines: keys that were inferred."), left.length > 0 && all.node));
  }
  redraw(false);
  const columns = focus.tables.reduce((sum, table) => sum + table.columns.length, 0);
  announce(`${plural(focus.tables.length, "table")} and ${plural(columns, "column")} are kept.`);
  return [
    h("div", { class: "card card-body" }, figures([
      ["tables kept", `${whole(focus.tables.length)}${entire ? ` of ${whole(entire.tables.length)}` : ""}`],
      ["columns kept", `${whole(columns)}${entire ? ` of ${whole(entire.tables.reduce((sum, table) => sum + table.columns.length, 0))}` : ""}`],
      ["tokens of the prompt", `${whole(focus.tokens)} of ${whole(focus.full_tokens)}`],
    ])),
    frame,
    focus.matched_values.length > 0 && matched(focus.matched_values, text),
    h("details", { class: "fold card card-body" }, h("summary", {}, "Tables and columns as a list"), list(focus)),
    h("details", { class: "fold card card-body" }, h("summary", {}, "Prompt for a language model"), h("p", { class: "with-copy" }, h("span", { class: "muted" }, `counted in the tokens of ${focus.tokenizer}`), copyButton(focus.prompt)), h("pre", { class: "block", tabindex: "0" }, focus.prompt)),
  ];
}

function matched(values, text) {
  const characters = Array.from(text);
  return h(
    "section",
    { class: "card card-body" },
    h("h2", {}, "Values that the question names"),
    h("ul", { class: "matched" }, values.slice(0, 12).map((match) => h(
      "li",
      {},
      match.span && h("mark", {}, characters.slice(match.span.start, match.span.end).join("")),
      h("span", {}, " is ", h("code", {}, `${match.table}.${match.column} = ${match.value}`), h("span", { class: "muted" }, `, ${MATCHED[match.matched] || match.matched}`)),
    ))),
  );
}

function list(focus) {
  return h("div", { class: "table-wrap" }, h(
    "table",
    { class: "compact" },
    h("thead", {}, h("tr", {}, ["table", "column", "type", "likely", "kept because"].map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, focus.tables.flatMap((table) => table.columns.map((column, i) => h(
      "tr",
      {},
      h("th", { scope: "row" }, i ? "" : h("strong", {}, table.name)),
      [column.name, column.data_type, percent(column.score), REASONS[column.reason] || column.reason].map((cell) => h("td", {}, cell)),
    )))),
  ));
}

export const page = { id: "schemas", title: "Schemas", icon: "schemas", mount };
