// The shell: which page is shown, the menu, theme, key and keyboard.

import { setKeyDialog, storedKey } from "./api.js";
import { helpDialog, keyDialog } from "./dialogs.js";
import { h, replace } from "./dom.js";
import { icon } from "./icons.js";
import { listen } from "./keys.js";
import { iconButton } from "./ui.js";
import { page as search } from "./pages/search.js";
import { page as compare } from "./pages/compare.js";
import { page as schemas } from "./pages/schemas.js";
import { page as entities } from "./pages/entities.js";
import { page as code } from "./pages/code.js";
import { page as jobs } from "./pages/jobs.js";
import { page as indexes } from "./pages/indexes.js";

const PAGES = [search, compare, schemas, entities, code, jobs, indexes];
const main = document.getElementById("main");
const nav = document.getElementById("nav");
const menu = document.getElementById("menu");
let shown = null;

/** "#/search?q=bread" as the page and its parameters. */
function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { page: PAGES.find((page) => page.id === path) || search, params: new URLSearchParams(query) };
}

/** Goes to the page with these parameters, as a step of the browser's history. */
function go(id, params) {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) kept.append(name, one);
  }
  const hash = `#/${id}${kept.size ? `?${kept}` : ""}`;
  // The same question again is asked again.
  if (hash === location.hash) route();
  else location.hash = hash;
}

function route() {
  const { page, params } = place();
  if (!shown || shown.page !== page) {
    const first = !shown;
    if (shown) shown.leave.abort();
    const leave = new AbortController();
    const root = h("div", { class: `page page-${page.id}` });
    replace(main, root);
    window.scrollTo(0, 0);
    shown = { page, leave, view: page.mount(root, { signal: leave.signal, go: (values) => go(page.id, values) }) };
    document.title = `${page.title} – Gleaner`;
    for (const link of nav.querySelectorAll("a")) {
      if (link.dataset.page === page.id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    // Who moves by links hears where they have come.
    if (!first) root.querySelector("h1").focus({ preventScroll: true });
  }
  shown.view.update(params);
  openMenu(false);
}

function openMenu(open) {
  menu.setAttribute("aria-expanded", String(open));
  nav.classList.toggle("open", open);
}

const THEMES = [["auto", "as the system has it"], ["light", "light"], ["dark", "dark"]];

function themeButton() {
  const node = iconButton("auto", "Theme");
  const show = () => {
    const [theme, text] = THEMES.find(([name]) => name === (document.documentElement.dataset.theme || "auto"));
    const label = `Theme: ${text}`;
    node.setAttribute("aria-label", label);
    node.title = label;
    replace(node, icon({ auto: "auto", light: "sun", dark: "moon" }[theme]));
  };
  node.addEventListener("click", () => {
    const current = THEMES.findIndex(([name]) => name === (document.documentElement.dataset.theme || "auto"));
    const next = THEMES[(current + 1) % THEMES.length][0];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("gleaner.theme", next);
    } catch {
      // The choice holds until the page is left.
    }
    show();
  });
  show();
  return node;
}

function keyButton() {
  const node = iconButton("key", "API key", {
    onclick: async () => { if (await keyDialog("Requests are sent with this key.")) location.reload(); },
  });
  const show = () => node.classList.toggle("set", Boolean(storedKey()));
  document.addEventListener("gleaner:key", show);
  show();
  return node;
}

replace(nav, h("ul", {}, PAGES.map((page) => h("li", {}, h("a", { href: `#/${page.id}`, dataset: { page: page.id } }, icon(page.icon), page.title)))));
replace(document.getElementById("tools"), iconButton("help", "Keyboard shortcuts", { onclick: helpDialog }), keyButton(), themeButton());
replace(menu, icon("menu"));
menu.addEventListener("click", () => openMenu(menu.getAttribute("aria-expanded") !== "true"));
document.querySelector(".skip").addEventListener("click", (event) => {
  // The hash says which page is shown, so the link must not change it.
  event.preventDefault();
  main.focus();
});
setKeyDialog(keyDialog);
listen(helpDialog);
window.addEventListener("hashchange", route);
route();
