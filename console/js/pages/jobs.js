// Jobs: loads of files, how far they are, and what can be asked of them.

import { at, events, get, getText, post } from "../api.js";
import { h, replace } from "../dom.js";
import { plural } from "../format.js";
import { indexNames, offer } from "../indexlist.js";
import { isLive, jobCard } from "../jobview.js";
import { announce, button, copyButton, empty, errorBox, field, loading, pageHead, select, toast } from "../ui.js";

// Browsers allow six connections to one server; the other jobs are seen with the next look.
const WATCHED = 3;
const EVERY = 4000;

function mount(root, { signal }) {
  const list = h("ul", { class: "jobs", "aria-label": "Jobs" });
  const results = h("div", { class: "results" }, loading());
  const cards = new Map();
  const watched = new Map();
  let names = null;

  const index = select([["", "…"]], "");
  const inputs = h("textarea", { rows: "3", class: "mono", spellcheck: "false", required: true, placeholder: "/srv/loads/articles.parquet" });
  const rejects = h("input", { type: "text", placeholder: "any number", spellcheck: "false" });
  const problem = h("div", {});
  const form = h(
    "details",
    { class: "fold card card-body" },
    h("summary", {}, "Load files"),
    h(
      "form",
      { class: "load-form", onsubmit: (event) => { event.preventDefault(); load(); } },
      field("Inputs", inputs, { wide: true, hint: "Paths, patterns or addresses, one a line. The server reads them itself, from where its configuration allows (ingest.sources)." }),
      h("div", { class: "query-row" }, field("Index", index), field("Most rejected rows", rejects), h("button", { type: "submit", class: "button primary" }, "Load")),
      problem,
    ),
  );
  replace(root, pageHead("Jobs", "Loads of files. Each can be halted and gone on with; no row is lost or doubled.", button("Refresh", { symbol: "retry", onclick: () => look() })), form, results);

  async function load() {
    const lines = inputs.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const request = { index: index.value, inputs: lines };
    const most = rejects.value.trim();
    if (most) request.max_rejects = /^\d+$/.test(most) ? Number(most) : most;
    replace(problem);
    try {
      const job = await post("/v1/jobs", request, signal);
      toast(`Job ${job.id} is made.`);
      await look();
    } catch (error) {
      if (error.name !== "AbortError") replace(problem, errorBox(error));
    }
  }

  function show(job) {
    const card = cards.get(job.id);
    if (card) card.update(job);
    return card;
  }

  async function act(id, name) {
    try {
      const job = await post(`/v1/jobs/${at(id)}:${name}`, name === "resume" || name === "retry" ? {} : undefined, signal);
      if (job) {
        show(job);
        announce(`Job ${id}: ${job.state}`);
      }
      await look();
    } catch (error) {
      if (error.name !== "AbortError") toast(error.message, "bad");
    }
  }

  async function rejected(id, place) {
    if (place.childElementCount) {
      replace(place);
      return;
    }
    try {
      const { text, whole } = await getText(`/v1/jobs/${at(id)}/rejects`, 40000, signal);
      const lines = text.trim().split("\n");
      replace(place, h("p", { class: "with-copy" }, h("span", { class: "muted" }, whole ? plural(lines.length, "rejected row") : "the first of the rejected rows"), copyButton(text)), h("pre", { class: "block rejects", tabindex: "0" }, lines.slice(0, 40).join("\n")));
    } catch (error) {
      if (error.name !== "AbortError") replace(place, errorBox(error));
    }
  }

  function watch(job) {
    if (!isLive(job) || watched.has(job.id) || watched.size >= WATCHED) return;
    const stop = new AbortController();
    watched.set(job.id, stop);
    events(`/v1/jobs/${at(job.id)}/events`, (name, data) => {
      show(data);
      if (name === "end") announce(`Job ${data.id} on ${data.index}: ${data.state}`);
    }, AbortSignal.any([signal, stop.signal]))
      .catch(() => {
        // The next look says what became of it.
      })
      .finally(() => watched.delete(job.id));
  }

  async function look() {
    let jobs;
    try {
      ({ jobs } = await get("/v1/jobs", signal));
    } catch (error) {
      if (error.name !== "AbortError") {
        cards.clear();
        replace(results, errorBox(error, look));
      }
      return;
    }
    if (!jobs.length) {
      cards.clear();
      replace(results, empty("No jobs yet", "Loads that are sent to the server, or made by gleaner ingest, are listed here with their progress."));
      return;
    }
    const known = jobs.length === cards.size && jobs.every((job) => cards.has(job.id));
    for (const job of jobs) {
      if (!show(job)) cards.set(job.id, jobCard(job, { act, rejects: rejected }));
    }
    for (const id of cards.keys()) if (!jobs.some((job) => job.id === id)) cards.delete(id);
    if (!known || !list.isConnected) {
      replace(list, jobs.map((job) => cards.get(job.id).node));
      replace(results, list);
    }
    jobs.forEach(watch);
  }

  const timer = setInterval(() => { if (document.visibilityState === "visible" && cards.size) look(); }, EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));

  return {
    async update(params) {
      if (!names) {
        indexNames(signal).then((found) => { names = found; offer(index, found, params.get("index") || ""); }, () => {});
      }
      await look();
    },
  };
}

export const page = { id: "jobs", title: "Jobs", icon: "jobs", mount };
