// Parts that every page uses.

import { freshId, h, replace } from "./dom.js";
import { icon } from "./icons.js";
import { whole } from "./format.js";

export function button(text, { kind = "plain", symbol, ...attributes } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, ...attributes }, symbol && icon(symbol), text);
}

/** A button that shows its symbol alone; `label` is what it is called. */
export function iconButton(symbol, label, attributes = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, ...attributes }, icon(symbol));
}

/** A control with its label above and perhaps a hint below. */
export function field(label, control, { hint, wide } = {}) {
  const id = control.id || freshId("field");
  control.id = id;
  let note = null;
  if (hint) {
    note = h("p", { class: "hint", id: `${id}-hint` }, hint);
    control.setAttribute("aria-describedby", note.id);
  }
  return h("div", { class: wide ? "field wide" : "field" }, h("label", { for: id }, label), control, note);
}

/** A select of [value, text] pairs. */
export function select(options, value, attributes = {}) {
  const node = h("select", attributes);
  setOptions(node, options, value);
  return node;
}

export function setOptions(node, options, value) {
  replace(node, options.map(([key, text]) => h("option", { value: key }, text)));
  if (options.some(([key]) => key === value)) node.value = value;
}

/** A choice of a few, all visible: radio buttons that look like one control. */
export function segmented(legend, options, value, onchange) {
  const name = freshId("choice");
  const inputs = options.map(([key]) =>
    h("input", { type: "radio", name, value: key, checked: key === value, class: "sr-only", onchange: () => onchange && onchange(key) }));
  const node = h(
    "fieldset",
    { class: "segmented" },
    h("legend", {}, legend),
    h("div", { class: "segments" }, options.map(([, text], i) => h("label", {}, inputs[i], h("span", {}, text)))),
  );
  return {
    node,
    get value() {
      const chosen = inputs.find((input) => input.checked);
      return chosen ? chosen.value : options[0][0];
    },
    set value(key) {
      for (const input of inputs) input.checked = input.value === key;
    },
  };
}

export function checkbox(text, checked, onchange) {
  const input = h("input", { type: "checkbox", checked, onchange: () => onchange && onchange(input.checked) });
  return { node: h("label", { class: "check" }, input, h("span", {}, text)), input };
}

export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);

/** A bar from 0 to 1; what it says stands in the text beside it. */
export function bar(share, kind = "") {
  const width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: `bar-fill ${kind}`, css: { width } }));
}

export function loading(text = "Loading") {
  return h("div", { class: "state loading" }, h("span", { class: "spinner", "aria-hidden": "true" }), h("p", {}, `${text} …`));
}

export function empty(title, text, ...more) {
  return h("div", { class: "state" }, h("h2", {}, title), text && h("p", {}, text), ...more);
}

const ADVICE = {
  unreachable: "It may be starting or stopped.",
  overloaded: "It is busy. Try again in a moment.",
  timeout: "It took longer than the server allows.",
  unauthenticated: "Give a key with the button at the top.",
  not_permitted: "Another key may be allowed to.",
};

/** What went wrong, with all that the service says about it. `role` is another where it is no news. */
export function errorBox(error, retry, role = "alert") {
  const facts = [["Where", error.field], ["Found", error.found], ["Expected", error.expected]].filter(([, text]) => text);
  const advice = ADVICE[error.code];
  return h(
    "div",
    { class: "error-box", role },
    h("div", { class: "error-head" }, icon("warning"), h("strong", {}, sentence(error.message)), error.code && h("code", {}, error.code)),
    advice && h("p", {}, advice),
    facts.length > 0 && h("dl", {}, facts.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
    (retry || error.requestId) && h(
      "div",
      { class: "error-foot" },
      retry && button("Try again", { onclick: retry, symbol: "retry" }),
      error.requestId && h("small", {}, "request ", h("code", {}, error.requestId)),
    ),
  );
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

export function pageHead(title, lead, ...more) {
  return h("div", { class: "page-head" }, h("div", {}, h("h1", { tabindex: "-1" }, title), lead && h("p", {}, lead)), more);
}

/** Figures side by side. */
export function figures(list) {
  return h("dl", { class: "figures" }, list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "number" ? whole(value) : value))));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser does not allow copying here.", "bad");
  }
}

export const copyButton = (text) => button("Copy", { symbol: "copy", kind: "plain small", onclick: () => copy(text) });
export const copyIcon = (text, label) => iconButton("copy", label, { class: "icon-button small", onclick: () => copy(text) });

/** A message that goes away by itself. */
export function toast(text, kind = "") {
  const node = h("div", { class: `toast ${kind}`, role: "status" }, text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), 5000);
}

/** Says to who listens rather than looks what has changed. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
