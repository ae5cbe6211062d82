// Highlights: texts with the words of the query between <em> and </em>, everything else made
// safe for HTML. They are taken apart into pieces, never given to a parser.

import { h } from "./dom.js";

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'" };

function plain(text) {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => ENTITIES[entity]);
}

/** [{text, marked}] of a fragment. */
export function pieces(fragment) {
  const found = [];
  let marked = false;
  // A text cannot hold these tags itself: its own < are &lt;.
  for (const part of fragment.split(/(<\/?em>)/)) {
    if (part === "<em>") marked = true;
    else if (part === "</em>") marked = false;
    else if (part) found.push({ text: plain(part), marked });
  }
  return found;
}

/** The same as nodes. */
export function nodes(fragment) {
  return pieces(fragment).map((piece) => (piece.marked ? h("mark", {}, piece.text) : piece.text));
}
