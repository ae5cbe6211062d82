// Nodes are made here and nowhere else. Texts become text nodes, so that nothing a server
// sends can become markup.

function fill(node, attributes) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    // Styles are set through the object model: the policy forbids style attributes.
    else if (name === "css") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** An element: h("p", {class: "note"}, "text", node, [more]). */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  // A select takes its value only once it has options.
  const { value, ...others } = attributes || {};
  fill(node, others);
  append(node, children);
  if (value !== undefined) fill(node, { value });
  return node;
}

/** The same in SVG. */
export function s(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(node, attributes);
  append(node, children);
  return node;
}

/** Puts `children` in the place of all that `node` holds. */
export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

/** Ids for labels and descriptions, unlike each other. */
let counted = 0;
export function freshId(prefix) {
  counted += 1;
  return `${prefix}-${counted}`;
}
