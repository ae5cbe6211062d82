// Which indexes there are, for pages that let one be chosen.

import { definitionOf, get } from "./api.js";
import { setOptions } from "./ui.js";

export async function indexNames(signal) {
  const { indexes } = await get("/v1/indexes", signal);
  return indexes.map((index) => index.name);
}

/** Those that hold code: docs/code.md names the fields. */
export async function codeIndexes(signal) {
  const names = await indexNames(signal);
  const found = await Promise.all(names.slice(0, 60).map(async (name) => {
    const fields = await definitionOf(name).then((definition) => definition.fields, () => ({}));
    return fields.path && fields.code && fields.hash ? name : null;
  }));
  return found.filter(Boolean);
}

/** Fills a select with names and keeps `wanted` chosen where it is there. */
export function offer(node, names, wanted) {
  const chosen = names.includes(wanted) ? wanted : names[0] || "";
  setOptions(node, names.length ? names.map((name) => [name, name]) : [["", "no index"]], chosen);
  node.disabled = !names.length;
  return chosen;
}
