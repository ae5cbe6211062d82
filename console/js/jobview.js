// One load as a card that is brought up to date in place.

import { h, replace } from "./dom.js";
import { bytes, instant, plural, seconds, whole } from "./format.js";
import { badge, bar, button, errorBox } from "./ui.js";

const LOOKS = { queued: "", running: "accent", paused: "warn", cancelled: "", failed: "bad", done: "good" };
// docs/jobs.md: what a job in each state can be asked to do.
const ACTS = { queued: ["pause", "cancel"], running: ["pause", "cancel"], paused: ["resume", "cancel"], failed: ["retry"], cancelled: ["retry"], done: [] };
const SYMBOLS = { pause: "pause", resume: "play", cancel: "close", retry: "retry" };
const NAMES = { pause: "Pause", resume: "Resume", cancel: "Cancel", retry: "Retry" };

export const isLive = (job) => job.state === "running" || job.state === "queued";

/** How far it is, 0 to 1, as far as can be told. */
export function share(job) {
  if (job.state === "done") return 1;
  if (typeof job.seconds_left === "number" && job.seconds + job.seconds_left > 0) return job.seconds / (job.seconds + job.seconds_left);
  const read = Math.max(job.files || 0, (job.place && job.place.input) || 0);
  return job.inputs ? read / job.inputs : 0;
}

function progressText(job) {
  const parts = [`${plural(job.rows, "row")} read`, `${whole(job.loaded)} loaded`];
  if (job.unchanged) parts.push(`${whole(job.unchanged)} unchanged`);
  if (job.deleted) parts.push(`${whole(job.deleted)} deleted`);
  if (job.rejected) parts.push(`${whole(job.rejected)} rejected`);
  if (job.state === "running" && job.documents_per_second) parts.push(`${whole(job.documents_per_second)} a second`);
  if (job.state === "running" && typeof job.seconds_left === "number") parts.push(`about ${seconds(job.seconds_left)} left`);
  if (job.seconds && !isLive(job)) parts.push(`in ${seconds(job.seconds)}`);
  return parts.join(" · ");
}

/** {node, update(job)}; `act(id, name)` is asked for by the buttons, `rejects(id)` for rejected rows. */
export function jobCard(first, { act, rejects }) {
  const state = h("span", {});
  const progress = h("div", { class: "job-progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": `Progress of job ${first.id}` });
  const text = h("p", { class: "muted" });
  const actions = h("div", { class: "job-actions" });
  const problem = h("div", {});
  const rows = h("div", {});
  const title = h("h2", {});
  const from = h("p", { class: "muted" });
  const node = h(
    "li",
    { class: "card card-body job", tabindex: "-1", dataset: { hit: first.id, job: first.id } },
    h("div", { class: "job-head" }, h("div", { class: "job-name" }, title, state, h("code", { class: "muted" }, first.id)), actions),
    progress,
    text,
    problem,
    rows,
    from,
  );
  let shownActs = "";

  function update(job) {
    title.textContent = job.index;
    node.dataset.state = job.state;
    replace(state, badge(job.interrupted ? "interrupted" : job.state, LOOKS[job.state]));
    const part = share(job);
    // How much there would have been is not known of one that was ended.
    progress.hidden = job.state === "failed" || job.state === "cancelled";
    progress.setAttribute("aria-valuenow", String(Math.round(part * 100)));
    replace(progress, bar(part, job.state === "failed" ? "bad" : job.state));
    text.textContent = progressText(job);
    from.textContent = [`${plural(job.inputs, "input")}, ${bytes(job.bytes)}`, `made ${instant(job.created)}`, job.ended && `ended ${instant(job.ended)}`, job.owner === "command" && "by a command"].filter(Boolean).join(" · ");
    replace(problem, job.error && errorBox(job.error, null, "note"));
    // Buttons that stay the same keep the focus.
    const wanted = `${job.state} ${job.rejected > 0}`;
    if (wanted === shownActs) return;
    shownActs = wanted;
    const focused = actions.contains(document.activeElement);
    replace(
      actions,
      job.rejected > 0 && button("Rejected rows", { kind: "plain small", onclick: () => rejects(job.id, rows) }),
      (ACTS[job.state] || []).map((name) => button(NAMES[name], { kind: "plain small", symbol: SYMBOLS[name], "aria-label": `${NAMES[name]} job ${job.id}`, onclick: () => act(job.id, name) })),
    );
    // The button that was pressed is gone: the job it belonged to takes the focus.
    if (focused) node.focus({ preventScroll: true });
  }
  update(first);
  return { node, update };
}
