// Requests to the service that serves this page. Nothing is ever sent elsewhere.

const KEY = "gleaner.key";
let asking = null;
let askForKey = async () => null;

/** Who asks the user for a key: an async function of a message that returns it, or null. */
export function setKeyDialog(dialog) {
  askForKey = dialog;
}

export function storedKey() {
  try {
    return sessionStorage.getItem(KEY) || "";
  } catch {
    return "";
  }
}

export function storeKey(key) {
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Without storage the key has to be given again after a reload.
  }
  document.dispatchEvent(new CustomEvent("gleaner:key"));
}

/** An answer that is an error, with what the service says about it. */
export class ApiError extends Error {
  constructor(status, error, requestId) {
    super(error.message || "The request failed.");
    this.status = status;
    this.code = error.code || "unknown";
    this.field = error.field;
    this.found = error.found;
    this.expected = error.expected;
    this.requestId = requestId;
  }
}

/** An error inside an answer, as in one of several searches. */
export function asError(error, status = 400) {
  return new ApiError(status, error, undefined);
}

async function failure(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Something in front of the service may have answered.
  }
  const error = body.error || { code: `http_${response.status}`, message: `The server answered ${response.status}.` };
  return new ApiError(response.status, error, body.request_id || response.headers.get("x-request-id"));
}

// Requests that are refused at the same time share one dialog.
function keyFromUser(refused) {
  const message = refused ? "The server did not accept this key." : "This server asks for a key.";
  asking = asking || askForKey(message).finally(() => { asking = null; });
  return asking;
}

async function send(method, path, { body, signal, headers = {} } = {}) {
  for (;;) {
    const key = storedKey();
    const all = { accept: "application/json", ...headers };
    if (key) all.authorization = `Bearer ${key}`;
    if (body !== undefined) all["content-type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, signal, headers: all, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, { code: "unreachable", message: "The server cannot be reached." });
    }
    if (response.status !== 401) return response;
    const refused = await failure(response);
    // Another request may have been given a key meanwhile.
    if (storedKey() !== key) continue;
    if (!(await keyFromUser(Boolean(key)))) throw refused;
  }
}

async function json(method, path, options) {
  const response = await send(method, path, options);
  if (!response.ok) throw await failure(response);
  return response.status === 204 ? null : response.json();
}

export const get = (path, signal) => json("GET", path, { signal });
export const post = (path, body, signal) => json("POST", path, { body, signal });

/** A text such as lines of JSON, cut off behind `limit` characters. */
export async function getText(path, limit, signal) {
  const response = await send("GET", path, { signal, headers: { accept: "*/*" } });
  if (!response.ok) throw await failure(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text, whole: true };
    text += value;
    if (text.length > limit) {
      await reader.cancel();
      return { text: text.slice(0, limit), whole: false };
    }
  }
}

/** `/ready` and `/health` say what they have to say with any status. */
export async function probe(path, signal) {
  const response = await send("GET", path, { signal });
  const body = await response.json().catch(() => ({}));
  return { status: response.status, body };
}

/**
 * Server-sent events, each given to `listener(name, data)`. An EventSource cannot send a key,
 * so the stream is read here. Returns when it ends.
 */
export async function events(path, listener, signal) {
  const response = await send("GET", path, { signal, headers: { accept: "text/event-stream" } });
  if (!response.ok) throw await failure(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).replace(/\r\n?/g, "\n").split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      let name = "message";
      const data = [];
      for (const line of part.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length) listener(name, JSON.parse(data.join("\n")));
    }
  }
}

/** A name as a part of an address. */
export const at = (name) => encodeURIComponent(name);

let definitions = new Map();

/** The definition of an index; asked for once. */
export async function definitionOf(name) {
  if (!definitions.has(name)) {
    const asked = get(`/v1/indexes/${at(name)}`).then((found) => found.definition);
    asked.catch(() => definitions.delete(name));
    definitions.set(name, asked);
  }
  return definitions.get(name);
}

/** Another key may see other indexes. */
document.addEventListener("gleaner:key", () => { definitions = new Map(); });
