// How good an order is, told from what was judged: nDCG at a depth, with linear gains, and precision
// at levels of recall, both as trec_eval has them. What nobody judged counts as not relevant.

const discount = (place) => 1 / Math.log2(place + 2);

/** 0 to 1, or null where nothing is judged relevant. */
export function ndcg(ids, grades, depth = 10) {
  const ideal = [...grades.values()].filter((grade) => grade > 0).sort((a, b) => b - a).slice(0, depth);
  if (!ideal.length) return null;
  const best = ideal.reduce((sum, grade, i) => sum + grade * discount(i), 0);
  const got = ids.slice(0, depth).reduce((sum, id, i) => sum + (grades.get(id) || 0) * discount(i), 0);
  return got / best;
}

/** The levels of recall at which precision is told. */
export const RECALLS = Array.from({ length: 11 }, (_, i) => i / 10);

/**
 * Precision at each of RECALLS: the best that is had at that recall or beyond, 0 where it is not
 * reached. Null where nothing is judged relevant.
 */
export function interpolated(ids, grades) {
  const relevant = [...grades.values()].filter((grade) => grade > 0).length;
  if (!relevant) return null;
  const reached = [];
  ids.forEach((id, i) => {
    if (grades.get(id) > 0) reached.push({ recall: (reached.length + 1) / relevant, precision: (reached.length + 1) / (i + 1) });
  });
  return RECALLS.map((recall) => Math.max(0, ...reached.filter((one) => one.recall >= recall - 1e-9).map((one) => one.precision)));
}

const STORE = "gleaner.judgments";

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) || "{}");
  } catch {
    return {};
  }
}

const keyOf = (index, query) => `${index}\n${query}`;

/** What was judged in this tab for a query: a map of ids to grades. */
export function judgments(index, query) {
  return new Map(Object.entries(stored()[keyOf(index, query)] || {}));
}

export function remember(index, query, grades) {
  const all = stored();
  all[keyOf(index, query)] = Object.fromEntries(grades);
  try {
    sessionStorage.setItem(STORE, JSON.stringify(all));
  } catch {
    // They are kept by the service in any case.
  }
}
