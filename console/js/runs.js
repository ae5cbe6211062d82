// What was asked in this tab on the Compare page, and what came: kept so that pictures can be made of
// more than one query.

import { requestOf, summary } from "./settings.js";

const STORE = "gleaner.runs";
const MOST = 200;

/** A setting as a text that is the same where the requests are. */
export const settingOf = (values) => JSON.stringify(requestOf(values));

export function runOf(index, query, filter, values, answer) {
  return {
    index,
    query,
    filter,
    setting: settingOf(values),
    name: summary(values),
    ids: answer.hits.map((hit) => hit.id),
    scores: answer.hits.map((hit) => Number(hit.score.toPrecision(6))),
    ms: answer.timings.total_ms,
  };
}

const same = (one, other) => ["index", "query", "filter", "setting"].every((name) => one[name] === other[name]);

/** `all` with `run`, which takes the place of an earlier one of the same query and setting. */
export const withRun = (all, run) => [...all.filter((one) => !same(one, run)), run].slice(-MOST);

export function storedRuns() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) || "[]");
  } catch {
    return [];
  }
}

export function rememberRuns(runs) {
  const all = runs.reduce(withRun, storedRuns());
  try {
    sessionStorage.setItem(STORE, JSON.stringify(all));
  } catch {
    // The pictures then show what is asked now.
  }
  return all;
}
