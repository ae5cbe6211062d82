// Charts as SVG, made of data alone. All are 320 units wide, which a narrow screen has, so that
// their texts are legible there. What belongs to side A or B is told by its mark, not by colour only.

import { s } from "./dom.js";

const WIDTH = 320;
const HEIGHT = 240;
const LEFT = 44;
const RIGHT = 10;
const TOP = 12;
// Below the axis stand its numbers and what they are.
const BOTTOM = 38;
const WIDE = WIDTH - LEFT - RIGHT;
// Between two panels, for numbers and a name; and the strip below bars, in which ticks stand.
const GAP = 38;
const NAME = 16;
const STRIP = 8;

/** Places of round numbers from `low` to `high`, about `count` of them. */
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * power >= rough * 0.999) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

/** The same on a logarithmic axis: 1, 2 and 5 of each power of ten, unless those are too few. */
export function logTicks(low, high) {
  if (high < 8 * low) return ticks(low, high, 4).filter((at) => at > 0);
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const times of [1, 2, 5]) {
      const at = times * 10 ** power;
      if (at >= low * 0.999 && at <= high * 1.001) found.push(at);
    }
  }
  const tens = found.filter((at) => Number.isInteger(Math.round(Math.log10(at) * 1e6) / 1e6));
  return found.length > 7 && tens.length > 1 ? tens : found;
}

/** Bars of equal width over all of `values`: {edges, counts}, with counts for each list of `lists`. */
export function binned(values, lists, count = 10) {
  const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const around = high > low ? [low, high] : [low - 0.5, high + 0.5];
  const inner = ticks(around[0], around[1], count);
  const step = inner.length > 1 ? inner[1] - inner[0] : around[1] - around[0];
  const first = Math.floor(around[0] / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(around[1] / step - 1e-9));
  const edges = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  const place = (value) => Math.max(0, Math.min(edges.length - 2, Math.floor(value / step - first + 1e-9)));
  const counts = lists.map((list) => {
    const sums = new Array(edges.length - 1).fill(0);
    for (const value of list) sums[place(value)] += 1;
    return sums;
  });
  return { edges, counts };
}

/** Numbers of an axis, all with as many digits as the step between them needs. */
export function tickText(at, all) {
  const step = all.length > 1 ? Math.min(...all.slice(1).map((one, i) => one - all[i])) : Math.abs(at) || 1;
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  return at.toFixed(digits);
}

const linear = ([low, high], [from, to]) => (value) => from + ((value - low) / (high - low)) * (to - from);
const logarithmic = ([low, high], range) => {
  const place = linear([Math.log(low), Math.log(high)], range);
  return (value) => place(Math.log(value));
};

function svg(label, children, height = HEIGHT) {
  return s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, children);
}

/** Lines and numbers of both axes of an area from `top` to `bottom`. */
function axes({ x, y, xTicks, yTicks, xTitle, yTitle, top, bottom, xText = tickText }) {
  const middle = (top + bottom) / 2;
  return s(
    "g",
    { class: "axes" },
    yTicks.map((at) => [
      s("path", { class: "grid", d: `M${LEFT} ${y(at)}H${WIDTH - RIGHT}` }),
      s("text", { x: LEFT - 9, y: y(at) + 4, "text-anchor": "end" }, tickText(at, yTicks)),
    ]),
    xTicks.map((at) => [
      s("path", { class: "tick", d: `M${x(at)} ${bottom}v4` }),
      s("text", { x: x(at), y: bottom + 16, "text-anchor": "middle" }, xText(at, xTicks)),
    ]),
    s("path", { class: "axis", d: `M${LEFT} ${top}V${bottom}H${WIDTH - RIGHT}` }),
    xTitle && s("text", { class: "axis-title", x: LEFT + WIDE / 2, y: bottom + 33, "text-anchor": "middle" }, xTitle),
    yTitle && s("text", { class: "axis-title", x: 10, y: middle, "text-anchor": "middle", transform: `rotate(-90 10 ${middle})` }, yTitle),
  );
}

/** A's mark is a disc, B's a square that a disc is seen in, that of anything else a ring. */
export function mark(side, x, y, title) {
  const told = title && s("title", {}, title);
  if (side === "b") return s("rect", { class: "mark side-b", x: x - 4.5, y: y - 4.5, width: 9, height: 9 }, told);
  return s("circle", { class: `mark side-${side}`, cx: x, cy: y, r: side === "a" ? 3.5 : 4 }, told);
}

/** A mark by itself, for a legend. */
export const key = (side) => s("svg", { class: "chart-key", viewBox: "0 0 12 12", "aria-hidden": "true" }, mark(side, 6, 6));

/** Lines in a square of shares. `series` are {side, points: [[x, y], ...]}. */
export function curves(series, { label, xTitle, yTitle }) {
  const bottom = HEIGHT - BOTTOM;
  const x = linear([0, 1], [LEFT, WIDTH - RIGHT]);
  const y = linear([0, 1], [bottom, TOP]);
  const shares = ticks(0, 1);
  return svg(label, [
    axes({ x, y, xTicks: shares, yTicks: shares, xTitle, yTitle, top: TOP, bottom }),
    series.map(({ side, points }) => s(
      "g",
      {},
      s("path", { class: `line side-${side}`, d: points.map(([px, py], i) => `${i ? "L" : "M"}${x(px)} ${y(py)}`).join("") }),
      points.map(([px, py]) => mark(side, x(px), y(py))),
    )),
  ]);
}

/**
 * Panels of bars below each other, each on an axis of its own. `panels` are {side, name, yes, no, rest}:
 * numbers whose shares are full and hollow bars, so that few are seen beside many; each of `rest` is a
 * tick below them.
 */
export function histograms(panels, { label, xTitle, yTitle }) {
  const made = panels.map((panel) => ({ ...panel, ...binned([...panel.yes, ...panel.no, ...panel.rest], [panel.yes, panel.no]) }));
  const shareOf = (panel, kind, count) => count / Math.max(1, (kind ? panel.no : panel.yes).length);
  const most = Math.max(0.1, ...made.flatMap((panel) => panel.counts.flatMap((list, kind) => list.map((count) => shareOf(panel, kind, count)))));
  const high = (HEIGHT - NAME - BOTTOM - GAP * (made.length - 1)) / made.length;
  const shares = ticks(0, most, 3);
  const drawn = made.map((panel, i) => {
    const top = NAME + i * (high + GAP);
    const bottom = top + high;
    const { edges } = panel;
    const x = linear([edges[0], edges[edges.length - 1]], [LEFT, WIDTH - RIGHT]);
    const y = linear([0, most], [bottom - STRIP, top]);
    const wide = (x(edges[1]) - x(edges[0])) / 2 - 1.5;
    const bars = panel.counts.flatMap((list, kind) => list.map((count, at) => count > 0 && s("rect", {
      class: kind ? "column-no" : "column-yes",
      x: x(edges[at]) + 1 + kind * (wide + 1),
      y: y(shareOf(panel, kind, count)),
      width: Math.max(1, wide),
      height: y(0) - y(shareOf(panel, kind, count)),
    }, s("title", {}, `${count} ${kind ? "not relevant" : "relevant"}, ${tickText(edges[at], edges)} to ${tickText(edges[at + 1], edges)}`))));
    const shown = ticks(edges[0], edges[edges.length - 1], 5);
    return s(
      "g",
      {},
      axes({ x, y, xTicks: shown, yTicks: shares, xTitle: i === made.length - 1 && xTitle, top, bottom }),
      s("path", { class: "rug", d: panel.rest.map((value) => `M${x(value).toFixed(1)} ${bottom - 6}v5`).join("") }),
      bars,
      s("text", { class: `panel-name side-${panel.side}`, x: WIDTH - RIGHT, y: top - 4, "text-anchor": "end" }, panel.name),
    );
  });
  const middle = (NAME + HEIGHT - BOTTOM) / 2;
  return svg(label, [drawn, s("text", { class: "axis-title", x: 10, y: middle, "text-anchor": "middle", transform: `rotate(-90 10 ${middle})` }, yTitle)]);
}

/** Points of a share over a quantity that spans powers of ten. `points` are {side, x, y, title}. */
export function scatter(points, { label, xTitle, yTitle }) {
  const bottom = HEIGHT - BOTTOM;
  const spans = points.map((point) => Math.max(point.x, 0.01));
  const [low, high] = [Math.min(...spans), Math.max(...spans)];
  // Never less than a span of three, so that what hardly differs looks like it.
  const room = Math.max(1.25, Math.sqrt((3 * low) / high));
  const range = [low / room, high * room];
  const x = logarithmic(range, [LEFT, WIDTH - RIGHT]);
  const y = linear([0, 1], [bottom, TOP]);
  // Others first: what is compared lies on top.
  const ordered = [...points].sort((one, other) => Number(one.side !== "other") - Number(other.side !== "other"));
  return svg(label, [
    axes({ x, y, xTicks: logTicks(...range), yTicks: ticks(0, 1), xTitle, yTitle, top: TOP, bottom, xText: (at, all) => (range[1] < 8 * range[0] ? tickText(at, all) : String(Number(at.toPrecision(1)))) }),
    ordered.map((point) => mark(point.side, x(Math.max(point.x, 0.01)), y(point.y), point.title)),
  ]);
}
