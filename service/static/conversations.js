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
// The keys of the messages of each conversation. Each message has an entry of its own, so that tabs which change a
// conversation at the same time take none from each other.
const index = new Map();
let complain = () => {};
let latest = 0;

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

// Note what an entry of the storage is about; returns the id of its conversation, if it is one.
function enter(key, there = true) {
  const [kind, id, message] = key.startsWith(prefix) ? key.slice(prefix.length).split(" ") : [];
  if (kind === "conversation") {
    if (there && !index.has(id)) index.set(id, new Set());
  } else if (kind === "message") {
    if (!index.has(id)) index.set(id, new Set());
    if (there) index.get(id).add(message);
    else index.get(id).delete(message);
  } else return undefined;
  return id;
}

function enterAll() {
  try {
    for (const key of Object.keys(localStorage)) enter(key);
  } catch {
    // The browser keeps nothing for this site.
  }
}

function parse(text) {
  try {
    const found = JSON.parse(text);
    return found?.schema === SCHEMA ? found : null;
  } catch {
    return null;
  }
}

const entryOf = (id) => `${prefix}conversation ${id}`;
const messageOf = (id, key) => `${prefix}message ${id} ${key}`;

function messages(id) {
  const found = [...(index.get(id) ?? [])].map((key) => parse(read(messageOf(id, key))));
  return found.filter((one) => one?.key && typeof one.text === "string").sort((one, other) => one.at - other.at);
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
  const found = parse(read(entryOf(id)));
  return found?.times ? { ...found, unsent: messages(id) } : null;
}

// All of them, the latest first.
export function all() {
  return [...index.keys()].map(get).filter(Boolean).sort((one, other) => other.touched - one.touched);
}

// A message to be sent, later than all before it.
export function newMessage(said) {
  latest = Math.max(Date.now(), latest + 1);
  return { schema: SCHEMA, key: newKey(), at: latest, by: tab, state: "queued", tries: 0, ...said };
}

// Change a conversation, or begin it; other tabs may have changed it since it was last read.
export function change(id, edit) {
  const fresh = { schema: SCHEMA, id, session: null, title: "", touched: Date.now(), last: 0, times: {}, unsent: [] };
  const { unsent: before, ...own } = get(id) ?? fresh;
  const found = { ...own, unsent: structuredClone(before) };
  edit(found);
  const { unsent, ...entry } = found;
  for (const number of Object.keys(entry.times).slice(0, -TIMES)) delete entry.times[number];
  put(entryOf(id), JSON.stringify(entry), read(entryOf(id)));
  const former = new Map(before.map((message) => [message.key, JSON.stringify(message)]));
  for (const message of unsent) {
    put(messageOf(id, message.key), JSON.stringify(message), former.get(message.key));
    former.delete(message.key);
  }
  for (const key of former.keys()) remove(messageOf(id, key));
  tell(id);
}

function put(key, text, before) {
  if (text === before) return;
  write(key, text);
  enter(key);
}

function remove(key) {
  drop(key);
  enter(key, false);
}

export function forget(id) {
  for (const key of index.get(id) ?? []) remove(messageOf(id, key));
  index.delete(id);
  drop(entryOf(id));
  drop(`${prefix}draft ${id}`);
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
    const found = get(id);
    if (found && !found.session && !found.title && !found.unsent.length) forget(id);
  }
}

addEventListener("storage", ({ key, newValue }) => {
  const id = key === null ? undefined : enter(key, newValue !== null);
  if (id) tell(id);
});
enterAll();
