// The two dialogs: for a key, and for help.

import { storeKey, storedKey } from "./api.js";
import { freshId, h } from "./dom.js";
import { shortcutList } from "./keys.js";
import { button, field, iconButton } from "./ui.js";

function dialog(title, ...children) {
  const id = freshId("title");
  const node = h("dialog", { "aria-labelledby": id }, h("div", { class: "dialog-head" }, h("h2", { id }, title), iconButton("close", "Close", { onclick: () => node.close("") })), children);
  node.addEventListener("close", () => node.remove());
  document.body.append(node);
  return node;
}

/** Asks for a key; resolves to it once it is given, or to null. */
export function keyDialog(message) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "glk_…" });
    const forget = storedKey() && button("Forget the key", { onclick: () => { storeKey(""); node.close(""); } });
    const form = h(
      "form",
      { method: "dialog" },
      h("p", {}, message),
      field("API key", input, { hint: "Kept in this tab until it is closed, and sent to this server alone." }),
      h("div", { class: "dialog-foot" }, forget, h("button", { class: "button primary", type: "submit" }, "Use this key")),
    );
    const node = dialog("API key", form);
    let given = null;
    form.addEventListener("submit", () => {
      given = input.value.trim();
      storeKey(given);
    });
    node.addEventListener("close", () => resolve(given));
    node.showModal();
    input.focus();
  });
}

export function helpDialog() {
  dialog("Keyboard", shortcutList()).showModal();
}
