// A schema as a drawing: tables as boxes with their columns, foreign keys as lines between the
// rows that they join. Tables that others refer to stand left of those.

import { s } from "./dom.js";

const WIDTH = 216;
const HEAD = 32;
const ROW = 23;
const GAP_X = 76;
const GAP_Y = 26;
const MARGIN = 12;
// Of many tables fewer rows are shown each.
const MOST_ROWS = 16;
const FEW_ROWS = 8;
const MANY_TABLES = 10;

/**
 * Places for tables. `tables` are {name, columns: [{name, ...}], ...}; `keys` are foreign keys.
 * Returns {boxes, width, height}; a box has x, y, height, its table and the rows that are shown.
 */
export function arrange(tables, keys) {
  const most = tables.length > MANY_TABLES ? FEW_ROWS : MOST_ROWS;
  const ends = new Set(keys.flatMap((key) => [...key.columns.map((name) => `${key.table}.${name}`), ...key.to_columns.map((name) => `${key.to_table}.${name}`)]));
  const boxes = new Map(tables.map((table) => [table.name, boxOf(table, most, ends)]));
  const edges = keys.filter((key) => boxes.has(key.table) && boxes.has(key.to_table) && key.table !== key.to_table);
  const joined = new Set(edges.flatMap((key) => [key.table, key.to_table]));
  const layers = layered([...boxes.values()].filter((box) => joined.has(box.table.name)), edges, boxes);
  const alone = [...boxes.values()].filter((box) => !joined.has(box.table.name));
  place(layers);
  settle(layers, edges, boxes);
  let width = layers.length * (WIDTH + GAP_X) - GAP_X;
  let height = Math.max(0, ...layers.flat().map((box) => box.y + box.height));
  if (alone.length) {
    const across = Math.max(1, Math.min(alone.length, Math.max(layers.length, 3)));
    const bottoms = new Array(across).fill(layers.length ? height + 2 * GAP_Y : 0);
    for (const box of alone) {
      // Each goes where there is room soonest.
      const column = bottoms.indexOf(Math.min(...bottoms));
      box.x = column * (WIDTH + GAP_X / 2);
      box.y = bottoms[column];
      bottoms[column] += box.height + GAP_Y;
      width = Math.max(width, box.x + WIDTH);
      height = Math.max(height, box.y + box.height);
    }
  }
  for (const box of boxes.values()) {
    box.x += MARGIN;
    box.y += MARGIN;
  }
  return { boxes, width: Math.max(width, WIDTH) + 2 * MARGIN, height: height + 2 * MARGIN };
}

/** Where there is no room for all columns, those that lines end at go first. */
function boxOf(table, most, ends) {
  let rows = table.columns;
  if (rows.length > most) {
    const joining = rows.filter((column) => ends.has(`${table.name}.${column.name}`)).slice(0, most - 1);
    const others = rows.filter((column) => !joining.includes(column)).slice(0, most - 1 - joining.length);
    rows = rows.filter((column) => joining.includes(column) || others.includes(column));
  }
  const hidden = table.columns.length - rows.length;
  return { table, rows, hidden, x: 0, y: 0, height: HEAD + (rows.length + (hidden ? 1 : 0)) * ROW + (rows.length ? 4 : 0) };
}

/** A table's layer is one behind the farthest table that it refers to. */
function layered(boxes, edges, all) {
  const depth = new Map();
  const visiting = new Set();
  function depthOf(name) {
    if (depth.has(name)) return depth.get(name);
    // Tables that refer to each other in a circle: where it was entered is its end.
    if (visiting.has(name)) return 0;
    visiting.add(name);
    const above = edges.filter((edge) => edge.table === name).map((edge) => depthOf(edge.to_table) + 1);
    visiting.delete(name);
    const found = Math.max(0, ...above);
    depth.set(name, found);
    return found;
  }
  const layers = [];
  for (const box of boxes) {
    const layer = depthOf(box.table.name);
    (layers[layer] = layers[layer] || []).push(box);
  }
  const dense = layers.filter(Boolean);
  dense.forEach((layer, i) => layer.forEach((box) => { all.get(box.table.name).layer = i; }));
  return dense;
}

function place(layers) {
  const heights = layers.map((layer) => layer.reduce((sum, box) => sum + box.height + GAP_Y, -GAP_Y));
  const tallest = Math.max(0, ...heights);
  layers.forEach((layer, i) => {
    let y = (tallest - heights[i]) / 2;
    for (const box of layer) {
      box.x = i * (WIDTH + GAP_X);
      box.y = y;
      y += box.height + GAP_Y;
    }
  });
}

/** Orders each layer by the middle of what its tables are joined with, so that lines seldom cross. */
function settle(layers, edges, boxes) {
  const middle = (box) => box.y + box.height / 2;
  for (let round = 0; round < 6; round += 1) {
    for (const layer of round % 2 ? [...layers].reverse() : layers) {
      const wish = new Map(layer.map((box) => {
        const near = edges.flatMap((edge) => (edge.table === box.table.name ? [edge.to_table] : edge.to_table === box.table.name ? [edge.table] : []));
        const places = near.map((name) => middle(boxes.get(name)));
        return [box, places.length ? places.reduce((sum, at) => sum + at, 0) / places.length : middle(box)];
      }));
      layer.sort((one, other) => wish.get(one) - wish.get(other));
    }
    place(layers);
  }
}

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function rowOf(box, column) {
  const at = box.rows.findIndex((row) => row.name === column);
  if (at < 0 && !box.hidden) return box.y + HEAD / 2;
  const row = at < 0 ? box.rows.length : at;
  return box.y + HEAD + row * ROW + ROW / 2 + 2;
}

function line(key, boxes) {
  const [from, to] = [boxes.get(key.table), boxes.get(key.to_table)];
  const [y1, y2] = [rowOf(from, key.columns[0]), rowOf(to, key.to_columns[0])];
  const label = `${key.table}.${key.columns.join(", ")} refers to ${key.to_table}.${key.to_columns.join(", ")}`;
  let path;
  let start = from.x;
  let end = to.x + WIDTH;
  if (from === to) {
    start = end;
    path = `M${start} ${y1}C${start + 40} ${y1} ${start + 40} ${y2} ${end} ${y2}`;
  } else if (from.x > to.x) {
    const bend = Math.min(60, (start - end) / 2);
    path = `M${start} ${y1}C${start - bend} ${y1} ${end + bend} ${y2} ${end} ${y2}`;
  } else {
    // The same layer, or backwards in a circle: around the right side of both.
    start = from.x + WIDTH;
    const out = Math.max(start, end) + 42;
    path = `M${start} ${y1}C${out} ${y1} ${out} ${y2} ${end} ${y2}`;
  }
  return s(
    "g",
    { class: `edge ${key.origin === "inferred" ? "inferred" : ""} ${from.table.dim || to.table.dim ? "dim" : ""}` },
    s("title", {}, label),
    s("path", { d: path }),
    s("circle", { cx: start, cy: y1, r: 3.2 }),
    s("path", { class: "head", d: arrow(end, y2) }),
  );
}

const arrow = (x, y) => `M${x + 7} ${y - 4}L${x + 1} ${y}L${x + 7} ${y + 4}`;

function drawBox(box) {
  const { table, x, y } = box;
  const rows = box.rows.map((column, i) => {
    const top = y + HEAD + i * ROW + 2;
    const key = (table.primary_key || []).includes(column.name);
    const text = column.value ? `= ${column.value}` : (column.data_type || "").toLowerCase();
    return s(
      "g",
      { class: `column ${key ? "key" : ""} ${column.value ? "has-value" : ""}` },
      s("title", {}, column.title || column.name),
      column.score !== undefined && s("rect", { class: "likely", x: x + 1, y: top, width: Math.max(2, (WIDTH - 2) * column.score), height: ROW }),
      s("text", { x: x + 12, y: top + 15.5 }, short(column.name, 18)),
      s("text", { class: "type", x: x + WIDTH - 12, y: top + 15.5, "text-anchor": "end" }, short(text, Math.max(6, 25 - Math.min(18, column.name.length)))),
    );
  });
  return s(
    "g",
    { class: `table-box ${table.dim ? "dim" : ""} ${table.joins ? "joins" : ""}` },
    s("title", {}, table.title || table.name),
    s("rect", { class: "frame", x, y, width: WIDTH, height: box.height, rx: 8 }),
    s("path", { class: "head", d: `M${x} ${y + HEAD}V${y + 8}a8 8 0 0 1 8-8h${WIDTH - 16}a8 8 0 0 1 8 8V${y + HEAD}z` }),
    s("text", { class: "name", x: x + 12, y: y + 21 }, short(table.name, table.score === undefined ? 27 : 21)),
    table.score !== undefined && s("text", { class: "likelihood", x: x + WIDTH - 12, y: y + 21, "text-anchor": "end" }, table.joins ? "joins" : `${Math.round(table.score * 100)} %`),
    rows,
    box.hidden > 0 && s("text", { class: "more", x: x + 12, y: y + HEAD + box.rows.length * ROW + 17 }, `and ${box.hidden} more`),
    s("rect", { class: "outline", x, y, width: WIDTH, height: box.height, rx: 8 }),
  );
}

/** The drawing, as large as it is. */
export function draw(tables, keys, label) {
  const { boxes, width, height } = arrange(tables, keys);
  const lines = keys.filter((key) => boxes.has(key.table) && boxes.has(key.to_table)).map((key) => line(key, boxes));
  // It shrinks to fit a little; beyond that its frame is scrolled, so that texts stay readable.
  const size = { "max-width": `${width}px`, "min-width": `${Math.round(width * 0.85)}px` };
  return s(
    "svg",
    { class: "schema", viewBox: `0 0 ${width} ${height}`, css: size, role: "img", "aria-label": label },
    lines,
    [...boxes.values()].map(drawBox),
  );
}
