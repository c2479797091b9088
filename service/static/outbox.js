// Messages on their way: each is kept by the browser until its reply is there, and goes out under one key, however often.

import { isReady, onReady, watch } from "./connection.js";
import { all, change, get, newKey, newMessage, onChange, tab, titleOf } from "./conversations.js";
import { Problem, ask, forget } from "./service.js";

const INTERRUPTED = "The page was closed before the reply came.";
const GONE = "The service no longer has this conversation; it may have expired. Your next message starts a new one.";
const ANSWER_MS = 400;

// By key of a message that this tab waits for: its conversation, its reply so far, its place, and what ends it.
const active = new Map();
// Tabs ask each other who is there to wait for its messages.
const tabs = new BroadcastChannel(`chatbot ${new URL(".", document.baseURI).pathname}`);
const answers = new Set();

let view = {};

// `events` has what happens to messages: `begin`, `text`, `position`, `stored` before it is
// kept, `done`, and what else ends them: `waits`, `stopped`, `failed` and `refused`.
export function open(events) {
  view = events;
  onReady(pumpAll);
  onChange(pump);
  for (const { id, unsent } of all()) {
    for (const message of unsent) if (onItsWay(message)) resume(id, message);
  }
  pumpAll();
}

// What has come of a reply: `text` and `position`; undefined for a message that this tab does not wait for.
export function progress(key) {
  return active.get(key);
}

export function add(id, { text, replace, temperature }) {
  change(id, (found) => {
    found.unsent.push(newMessage({ text, replace, temperature }));
    found.title ||= titleOf(text);
    found.touched = Date.now();
  });
}

// Send what was stopped or failed.
export function again(id, key) {
  put(id, key, { state: "queued", by: tab, partial: "" });
  release(id);
}

// Take a message out; returns it.
export function take(id, key) {
  const message = get(id)?.unsent.find((other) => other.key === key);
  active.get(key)?.abort.abort();
  change(id, (found) => {
    found.unsent = found.unsent.filter((other) => other.key !== key);
  });
  release(id);
  return message;
}

// Stop what is on its way in a conversation.
export function stop(id) {
  const stopped = get(id)?.unsent.filter(onItsWay).map(({ key }) => key) ?? [];
  if (!stopped.length) return;
  change(id, ({ unsent }) => {
    for (const message of unsent) if (stopped.includes(message.key)) message.state = "stopped";
  });
  for (const key of stopped) {
    if (active.has(key)) active.get(key).abort.abort();
    else view.stopped(id, key, get(id).unsent.find((other) => other.key === key));
  }
  tabs.postMessage({ stop: stopped });
}

export function onItsWay({ state }) {
  return state === "queued" || state === "sending";
}

// Let go out what was held back by a message before it.
function release(id) {
  if (!get(id)?.unsent.some(({ state }) => state === "held")) return;
  change(id, ({ unsent }) => {
    for (const message of unsent) if (message.state === "held") message.state = "queued";
  });
}

function put(id, key, values) {
  if (!get(id)) return;
  change(id, ({ unsent }) => {
    const message = unsent.find((other) => other.key === key);
    if (message) Object.assign(message, values);
  });
}

function pumpAll() {
  for (const { id } of all()) pump(id);
}

// Send the next message of a conversation; its messages go out one after the other.
function pump(id) {
  const found = get(id);
  if (!found || !isReady() || found.unsent.some(({ state }) => state === "sending")) return;
  const next = found.unsent.find(({ state, by }) => state === "queued" && by === tab);
  if (next && !active.has(next.key)) send(id, next);
}

async function send(id, message) {
  const { key } = message;
  const abort = new AbortController();
  const work = { id, text: "", position: 0, abort };
  active.set(key, work);
  put(id, key, { state: "sending", by: tab });
  view.begin(id, key);
  let outcome;
  try {
    const done = await ask(message, {
      session: get(id)?.session,
      signal: abort.signal,
      onText: (piece) => {
        work.position = 0;
        work.text += piece;
        view.text(id, key, piece);
      },
      onPosition: (position) => {
        work.position = position;
        view.position(id, key, position);
      },
    });
    outcome = () => settle(id, message, done);
  } catch (error) {
    outcome = () => fail(id, message, error, work.text);
  }
  active.delete(key);
  outcome();
}

function settle(id, message, done) {
  const found = get(id);
  // The conversation was forgotten meanwhile.
  if (!found) return forget(done.session_id).catch(() => {});
  // Another tab may have begun it at the same time, as another one.
  const home = !found.session || found.session === done.session_id ? id : newKey();
  view.stored(home, message, done);
  change(home, (own) => {
    own.unsent = own.unsent.filter(({ key }) => key !== message.key);
    own.session = done.session_id;
    own.title ||= titleOf(message.text);
    own.last = Math.max(own.last, done.exchange);
    own.times[done.exchange] = [message.at, Date.now()];
    own.touched = Date.now();
  });
  if (home !== id) take(id, message.key);
  view.done(home, done);
}

function fail(id, { key }, problem, partial) {
  const now = get(id)?.unsent.find((other) => other.key === key);
  // Stopped, taken out, or forgotten with its conversation.
  if (!now || problem.name === "AbortError") {
    // Another tab that stopped it may not have been heard of in the storage yet.
    if (now) put(id, key, { state: "stopped", partial });
    return view.stopped(id, key, now);
  }
  if (!(problem instanceof Problem)) console.error(problem);
  if (problem.lost || problem.code === "not_ready") {
    watch(now.tries + 1);
    put(id, key, { state: "queued", tries: now.tries + 1 });
    view.waits(id, key);
  } else if ([400, 413, 422].includes(problem.status) || (problem.status === 409 && problem.code !== "conversation_changed")) {
    take(id, key);
    view.refused(id, now, problem);
  } else {
    const gone = problem.code === "unknown_conversation";
    const text = gone ? GONE : problem.message ?? String(problem);
    if (gone) change(id, (found) => Object.assign(found, { session: null, last: 0, times: {} }));
    const retryAt = problem.retryAfter ? Date.now() + 1000 * problem.retryAfter : 0;
    change(id, ({ unsent }) => {
      for (const other of unsent) {
        if (other.key === key) Object.assign(other, { state: "failed", problem: text, retryAt, partial, ...(gone && { replace: undefined }) });
        // What was written after it goes out after it.
        else if (other.state === "queued") other.state = "held";
      }
    });
    view.failed(id, key, { gone, text });
  }
}

// A message that was on its way when its tab was closed or reloaded.
async function resume(id, { key, by }) {
  if (by === tab) return put(id, key, { state: "queued" });
  tabs.postMessage({ who: by });
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  const message = get(id)?.unsent.find((other) => other.key === key);
  if (!answers.has(by) && message?.by === by && onItsWay(message)) put(id, key, { state: "failed", problem: INTERRUPTED });
}

tabs.addEventListener("message", ({ data }) => {
  if (data.who === tab) tabs.postMessage({ here: tab });
  if (data.here) answers.add(data.here);
  for (const key of data.stop ?? []) active.get(key)?.abort.abort();
});
