// The conversations of this browser: their ids, names and unsent messages. What was said is with the service.

const SCHEMA = 1;
const TIMES = 200;
const TITLE = 60;
const FULL = "This browser has no room left for this site. What is not sent is kept only until this tab is closed.";

// Services below different paths of one origin share the browser's storage.
const prefix = `chatbot ${new URL(".", document.baseURI).pathname} ${SCHEMA} `;

// The service knows a message that is sent again by its key. (There is no randomUUID outside of HTTPS and localhost.)
export function newKey() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

// A tab keeps its name when it is reloaded.
export const tab = sessionStorage.getItem("tab") ?? newKey();
sessionStorage.setItem("tab", tab);

// What could not be written to the browser's storage.
const unsaved = new Map();
const listeners = new Set();
let complain = () => {};

function read(key) {
  if (unsaved.has(key)) return unsaved.get(key);
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key, text) {
  try {
    localStorage.setItem(key, text);
    unsaved.delete(key);
  } catch {
    if (!unsaved.size) complain(FULL);
    unsaved.set(key, text);
  }
}

function drop(key) {
  unsaved.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // Nothing was kept.
  }
}

function keys() {
  try {
    return new Set([...Object.keys(localStorage), ...unsaved.keys()]);
  } catch {
    return unsaved.keys();
  }
}

function parse(text) {
  try {
    const found = JSON.parse(text);
    return found?.schema === SCHEMA && Array.isArray(found.unsent) ? found : null;
  } catch {
    return null;
  }
}

function tell(id) {
  for (const listener of listeners) listener(id);
}

// Call with the id of each conversation that changes, in this tab or in another one.
export function onChange(listener) {
  listeners.add(listener);
}

// Call with a sentence when the browser keeps nothing more.
export function onFull(listener) {
  complain = listener;
}

// `session` is its id at the service; `unsent` holds messages without a reply; `times` when others were sent and answered.
export function get(id) {
  return parse(read(`${prefix}conversation ${id}`));
}

// All of them, the latest first.
export function all() {
  const start = `${prefix}conversation `;
  return [...keys()]
    .filter((key) => key.startsWith(start))
    .map((key) => parse(read(key)))
    .filter(Boolean)
    .sort((one, other) => other.touched - one.touched);
}

// Change a conversation, or begin it; other tabs may have changed it since it was last read.
export function change(id, edit) {
  const found = get(id) ?? { schema: SCHEMA, id, session: null, title: "", touched: Date.now(), last: 0, unsent: [], times: {} };
  edit(found);
  for (const number of Object.keys(found.times).slice(0, -TIMES)) delete found.times[number];
  write(`${prefix}conversation ${id}`, JSON.stringify(found));
  tell(id);
  return found;
}

export function forget(id) {
  for (const key of [`${prefix}conversation ${id}`, `${prefix}draft ${id}`]) drop(key);
  sessionStorage.removeItem(`draft ${id}`);
  tell(id);
}

// The first words of a text, as a name.
export function titleOf(text) {
  const words = text.replace(/\s+/g, " ").trim();
  return words.length > TITLE ? `${words.slice(0, TITLE).replace(/\s+\S*$/, "")}…` : words;
}

// What is typed and not sent. Each tab has its own; a tab without one takes the latest of the others.
export function draft(id) {
  const text = sessionStorage.getItem(`draft ${id}`) ?? read(`${prefix}draft ${id}`);
  try {
    return JSON.parse(text) ?? { text: "" };
  } catch {
    return { text: "" };
  }
}

export function keepDraft(id, value) {
  const text = JSON.stringify(value);
  const own = `draft ${id}`;
  const before = sessionStorage.getItem(own);
  if (value.text || value.replace) {
    try {
      sessionStorage.setItem(own, text);
    } catch {
      complain(FULL);
    }
    write(prefix + own, text);
    if (!get(id)) change(id, () => {});
  } else {
    sessionStorage.removeItem(own);
    if (before === null || read(prefix + own) === before) drop(prefix + own);
  }
}

addEventListener("storage", ({ key }) => {
  const start = `${prefix}conversation `;
  if (key?.startsWith(start)) tell(key.slice(start.length));
});
