// The filter language, as far as a click writes it (docs/queries.md).

/** A value as the language writes it. */
export function literal(value) {
  if (typeof value !== "string") return String(value);
  // JSON's escapes are the language's, but for these two.
  return JSON.stringify(value).replaceAll("\\b", "\\u0008").replaceAll("\\f", "\\u000c");
}

export const condition = (field, value) => `${field} = ${literal(value)}`;

/** A typed filter and conditions that were clicked, all of which have to hold. */
export function all(typed, conditions) {
  const written = typed.trim();
  if (!conditions.length) return written;
  return [...(written ? [`(${written})`] : []), ...conditions].join(" AND ");
}

// Facets of these types can be asked for; dates hardly repeat.
const COUNTED = new Set(["keyword", "boolean", "integer"]);

// Fields whose values hardly repeat, by index: they are asked for once.
const telling = new Map();

/** The facets to ask for. */
export function wanted(definition, values = 8) {
  const dull = telling.get(definition.name) || new Set();
  const names = Object.keys(definition.fields).filter((name) => COUNTED.has(definition.fields[name].type) && !dull.has(name));
  return Object.fromEntries(names.slice(0, 16).map((name) => [name, values]));
}

/** Those of an answer that are worth a place: keywords first, of these what covers most documents. */
export function worthwhile(definition, facets, total, chosen) {
  const dull = telling.get(definition.name) || new Set();
  const kept = [];
  for (const [field, values] of Object.entries(facets || {})) {
    const covered = values.reduce((sum, value) => sum + value.count, 0);
    // Only an answer about many documents says that a field tells little.
    const most = values.length ? values[0].count : 0;
    const hardlyRepeats = most <= Math.max(1, total * 0.01) || (most <= total * 0.03 && covered < total * 0.1);
    if (total >= 20 && hardlyRepeats) dull.add(field);
    const isChosen = chosen.some((one) => one.startsWith(`${field} = `));
    if (values.length > 1 && !(total >= 20 && hardlyRepeats) || isChosen) kept.push({ field, values, covered });
  }
  telling.set(definition.name, dull);
  const order = { keyword: 0, integer: 1, boolean: 2 };
  const place = ({ field }) => order[definition.fields[field].type];
  return kept.sort((a, b) => place(a) - place(b) || b.covered - a.covered).slice(0, 7);
}
