// The keyboard: / to the query, j and k through the hits, o takes a hit's score apart, ? for help.

import { h } from "./dom.js";

const TYPING = "input:not([type=radio]):not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]";

export const SHORTCUTS = [
  ["/", "to the query"],
  ["j", "next hit"],
  ["k", "hit before"],
  ["o", "open or close what the hit folds away"],
  ["Esc", "leave the query, close a dialog"],
  ["?", "this list"],
];

function move(step) {
  const hits = [...document.querySelectorAll("#main [data-hit]")].filter((hit) => hit.offsetParent !== null);
  if (!hits.length) return;
  const current = hits.findIndex((hit) => hit.contains(document.activeElement));
  const next = current < 0 ? (step > 0 ? 0 : hits.length - 1) : Math.max(0, Math.min(hits.length - 1, current + step));
  hits[next].focus({ preventScroll: true });
  hits[next].scrollIntoView({ block: "nearest" });
}

function open() {
  const hit = document.activeElement && document.activeElement.closest("[data-hit]");
  const details = hit && hit.querySelector("details");
  if (details) details.open = !details.open;
}

export function listen(showHelp) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target instanceof Element && event.target.matches(TYPING);
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const query = document.querySelector("#main [data-query]");
    if (event.key === "/" && query) {
      event.preventDefault();
      query.focus();
      query.select();
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "o") open();
    else if (event.key === "?") showHelp();
  });
}

export function shortcutList() {
  return h("dl", { class: "shortcuts" }, SHORTCUTS.map(([key, text]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, text))));
}
