// What was judged in this tab, drawn for both sides of a comparison. Each picture has its numbers in a
// table, and says what to do while there is nothing to draw.

import { curves, histograms, key, scatter } from "./chart.js";
import { h, replace } from "./dom.js";
import { milliseconds, plural, score } from "./format.js";
import { interpolated, ndcg, RECALLS } from "./ndcg.js";

const SIDES = ["a", "b"];
const LETTERS = { a: "A", b: "B", other: "other settings" };
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/** Pairs of runs of the same query, of which something is judged: {grades, a, b}. */
export function judgedPairs(runs, settings, gradesOf, accepts = (grades) => grades.size > 0) {
  return runs.filter((run) => run.setting === settings.a).flatMap((a) => {
    const b = runs.find((run) => run.setting === settings.b && run.query === a.query);
    const grades = gradesOf(a.query);
    return b && accepts(grades) ? [{ grades, a, b }] : [];
  });
}

/** Precision at eleven recalls for each side, the mean over the queries; null without any. */
export function precisions(pairs) {
  if (!pairs.length) return null;
  return SIDES.map((side) => {
    const curvesOf = pairs.map((pair) => interpolated(pair[side].ids, pair.grades));
    return { side, points: RECALLS.map((recall, i) => [recall, mean(curvesOf.map((curve) => curve[i]))]) };
  });
}

/** Scores of each side by what was said of the hits. */
export function scores(pairs) {
  return SIDES.map((side) => {
    const found = { side, name: LETTERS[side], yes: [], no: [], rest: [] };
    for (const { grades, [side]: run } of pairs) {
      run.ids.forEach((id, i) => {
        const grade = grades.get(id);
        found[grade === undefined ? "rest" : grade > 0 ? "yes" : "no"].push(run.scores[i]);
      });
    }
    return found;
  });
}

/** A point for each query and setting whose quality can be told. */
export function tradeoff(runs, settings, gradesOf) {
  return runs.flatMap((run) => {
    const quality = ndcg(run.ids, gradesOf(run.query));
    if (quality === null) return [];
    const side = SIDES.find((one) => settings[one] === run.setting) || "other";
    return [{ side, x: run.ms, y: quality, run, title: `${LETTERS[side]}: ${run.name}; “${run.query}”: ${quality.toFixed(3)} in ${milliseconds(run.ms)}` }];
  });
}

function legend(entries) {
  return h("ul", { class: "chart-legend" }, entries.map(([symbol, text]) => h("li", {}, symbol, text)));
}

/** Texts to the left, numbers to the right. */
function table(heads, rows) {
  const side = (i) => (i && /^[\d–-]/.test(String(rows[0][i])) ? "number" : "");
  return h(
    "table",
    { class: "compact" },
    h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: side(i) }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, i) => (i ? h("td", { class: side(i) }, cell) : h("th", { scope: "row" }, cell)))))),
  );
}

/** A picture with its title; `show` is given what it consists of, or what to do to get it. */
function frame(title, id) {
  const meanings = h("div", {});
  const body = h("div", {});
  const numbers = h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": `${title}: its numbers` });
  const fold = h("details", { class: "fold" }, h("summary", {}, "Numbers"), numbers);
  const note = h("p", { class: "hint" });
  const node = h("figure", { class: "picture", dataset: { picture: id } }, h("figcaption", {}, h("h3", {}, title), note), meanings, body, fold);
  return {
    node,
    show(about, drawing, entries, heads, rows) {
      note.textContent = about;
      replace(meanings, legend(entries));
      replace(body, drawing);
      replace(numbers, table(heads, rows));
      fold.hidden = false;
    },
    ask(text) {
      note.textContent = "";
      replace(meanings);
      replace(body, h("p", { class: "picture-empty" }, text));
      fold.hidden = true;
    },
  };
}

const swatch = (kind) => h("i", { class: `chart-swatch ${kind}`, "aria-hidden": "true" });

/**
 * The three pictures beside the answers to `query`: {node, update}. `names` are what both settings are called, `settings` what tells
 * them from others, `runs` all that was asked of the index, `gradesOf` what was judged for a query.
 */
export function pictures({ query, names, settings, runs, gradesOf }) {
  const curve = frame("Precision and recall", "curve");
  const spread = frame("Scores of relevant hits and others", "scores");
  const cost = frame("Quality and time", "cost");
  const sides = () => SIDES.map((side) => [key(side), `${LETTERS[side]}: ${names[side]}`]);

  function updateCurve(pairs) {
    const series = precisions(pairs);
    if (!series) return curve.ask("Judge a hit as relevant with the check mark beside it: then this shows how much of what is relevant each side finds, and with how much else among it.");
    const [a, b] = series.map(({ points }) => mean(points.map(([, precision]) => precision)));
    const label = `Precision at eleven levels of recall. On average A has ${a.toFixed(3)}, B ${b.toFixed(3)}.`;
    return curve.show(
      pairs.length > 1 ? `Interpolated, the mean of ${pairs.length} judged queries` : "Interpolated, of one judged query",
      curves(series, { label, xTitle: "recall", yTitle: "precision" }),
      sides(),
      ["recall", "A", "B"],
      RECALLS.map((recall, i) => [recall.toFixed(1), ...series.map(({ points }) => points[i][1].toFixed(3))]),
    );
  }

  function updateScores(pairs) {
    if (!pairs.length) return spread.ask("Judge hits as relevant and as not: then this shows whether their scores keep them apart.");
    const panels = scores(pairs);
    const told = panels.map(({ name, yes, no }) => `${name}: ${yes.length} relevant${yes.length ? `, on average ${score(mean(yes))}` : ""}; ${no.length} not${no.length ? `, ${score(mean(no))}` : ""}`);
    const kinds = [["yes", "relevant"], ["no", "not relevant"], ["rest", "not judged"]];
    return spread.show(
      "A side that ranks well keeps both kinds apart",
      histograms(panels, { label: `Distribution of scores. ${told.join(". ")}.`, xTitle: "score", yTitle: "share of its kind" }),
      kinds.map(([kind, text]) => [swatch(kind), text]),
      ["", "hits", "least", "mean", "most"],
      panels.flatMap((panel) => kinds.map(([kind, text]) => {
        const list = panel[kind];
        const figures = list.length ? [Math.min(...list), mean(list), Math.max(...list)].map(score) : ["–", "–", "–"];
        return [`${panel.name}, ${text}`, list.length, ...figures];
      })),
    );
  }

  function updateCost() {
    const points = tradeoff(runs, settings, gradesOf);
    if (!points.length) return cost.ask("Judge a hit as relevant, and ask other queries or under other settings: each answer becomes a point, its nDCG@10 over the time it took.");
    const seen = SIDES.filter((side) => points.some((point) => point.side === side));
    const told = seen.map((side) => {
      const own = points.filter((point) => point.side === side);
      return `${LETTERS[side]}: on average ${mean(own.map((point) => point.y)).toFixed(3)} in ${milliseconds(mean(own.map((point) => point.x)))}`;
    });
    const others = points.some((point) => point.side === "other");
    return cost.show(
      `${plural(points.length, "answer")} of this tab; up is better, left is faster`,
      scatter(points, { label: `nDCG@10 over time for ${plural(points.length, "answer")}. ${told.join(". ")}.`, xTitle: "milliseconds (logarithmic)", yTitle: "nDCG@10" }),
      others ? [...sides(), [key("other"), LETTERS.other]] : sides(),
      ["query", "setting", "nDCG@10", "time"],
      points.map(({ side, x, y, run }) => [run.query, side === "other" ? run.name : `${LETTERS[side]}: ${run.name}`, y.toFixed(3), milliseconds(x)]),
    );
  }

  function update() {
    updateCurve(judgedPairs(runs, settings, gradesOf, (grades) => [...grades.values()].some((grade) => grade > 0)));
    updateScores(judgedPairs(runs, settings, gradesOf));
    updateCost();
  }

  const title = h("h2", { id: "pictures-title" }, "What the judgments show");
  const node = h("section", { class: "pictures card card-body", dataset: { query }, tabindex: "-1", "aria-labelledby": title.id }, title, h("div", { class: "picture-grid" }, curve.node, spread.node, cost.node));
  return { node, update };
}
