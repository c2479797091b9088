// The page: which conversation is open, and what happens to it.

import { Composer } from "./composer.js";
import { isReady, onReady } from "./connection.js";
import * as conversations from "./conversations.js";
import { announce } from "./elements.js";
import { Log, shortened } from "./log.js";
import { Meter } from "./meter.js";
import * as outbox from "./outbox.js";
import { forget, history } from "./service.js";
import { Sidebar, nameOf } from "./sidebar.js";
import { allTurns, save } from "./transcript.js";

const ANEW = 0.9;
const WENT_ON = "This conversation went on elsewhere, so nothing was replaced. Your text is here again.";
const NOT_REPLACED = "This conversation went on elsewhere, so nothing was replaced.";
const EXPIRED = "The service no longer has this conversation; it may have expired.";

const [welcome, turns, view, question] = ["welcome", "turns", "log", "question"].map((id) => document.getElementById(id));

// The conversation that is open: its id here, what the service has of it, and of how many turns it tells no more.
let current = "";
let exchanges = [];
let earlier = 0;
let unread = 0;
// Whether nothing was said elsewhere before the last reply.
let whole = true;
// While the service is asked for what it has.
let reading = null;

const log = new Log(view, turns, {
  edit: (item) => (item.number ? composer.edit(item.text, item.number) : takeBack(item)),
  anew: ({ text, number }) => send(text, number, ANEW),
  again: ({ key }) => outbox.again(current, key),
  discard: ({ key }) => {
    outbox.take(current, key);
    announce("Discarded.");
  },
});
const meter = new Meter(document.getElementById("meter"));
const composer = new Composer({
  send,
  stop: () => outbox.stop(current),
  typed: () => {
    if (!current) return;
    conversations.keepDraft(current, composer.draft);
    measure();
  },
});
const sidebar = new Sidebar({
  open: (id) => {
    sidebar.close();
    open(id);
  },
  rename: (id, title) => conversations.change(id, (found) => Object.assign(found, { title })),
  save: saveAsText,
  forget: askToForget,
});

function record() {
  return conversations.get(current);
}

function session() {
  return record()?.session ?? null;
}

// Show a conversation, or a new one.
async function open(id = conversations.newKey()) {
  current = "";
  [exchanges, earlier, unread] = [[], 0, 0];
  log.note();
  composer.load(conversations.draft(id));
  current = id;
  sessionStorage.setItem("conversation", id);
  sidebar.current = id;
  await refresh();
  log.follow();
  composer.focus();
}

// Read what the service has of the conversation.
async function refresh() {
  const [id, own] = [current, session()];
  show();
  if (!own) return measure();
  const mine = history(own);
  const counting = meter.measure(own);
  reading = mine;
  try {
    const told = await mine;
    const counted = await counting;
    if (current !== id || reading !== mine) return;
    exchanges = [...exchanges.filter(({ lost }) => lost), ...asExchanges(told.turns)];
    earlier = told.earlier_turns;
    unread = (counted ?? told).truncated_turns;
    noteEarlier();
    const last = exchanges.at(-1)?.number ?? 0;
    if (last > record().last) conversations.change(id, (found) => Object.assign(found, { last }));
  } catch (problem) {
    if (current !== id || reading !== mine) return;
    if (problem.code === "unknown_conversation") {
      conversations.change(id, (found) => Object.assign(found, { session: null, last: 0, times: {} }));
      lose();
      log.note(EXPIRED);
    } else {
      log.note(`The earlier turns could not be read. ${problem.message}`, [{ label: "Try again", act: refresh }]);
    }
  } finally {
    if (reading === mine) reading = null;
  }
  show();
  if (composer.draft.text) measure();
}

function asExchanges(said) {
  const found = [];
  for (let i = 0; i < said.length; i += 2) {
    const { exchange, text, truncated_tokens: cut } = said[i];
    found.push({ id: `exchange ${exchange}`, number: exchange, text, reply: said[i + 1].text, cut });
  }
  return found;
}

function noteEarlier() {
  if (!earlier) return log.note();
  log.note(`${earlier} earlier turns are not shown.`, [{ label: "Show more", act: readEarlier }]);
}

async function readEarlier() {
  const id = current;
  const told = await history(session(), earlier).catch(() => null);
  if (!told || current !== id) return;
  exchanges = [...asExchanges(told.turns), ...exchanges];
  earlier = told.earlier_turns;
  noteEarlier();
  show();
}

// The service has none of it any more; what is on the screen stays there.
function lose() {
  exchanges = exchanges.map((said) => ({ ...said, lost: true, id: `lost ${said.id}` }));
  [earlier, unread] = [0, 0];
  composer.detach();
}

function show() {
  const found = record();
  const unsent = found?.unsent ?? [];
  const replaced = new Set(unsent.filter(outbox.onItsWay).map(({ replace }) => replace));
  const last = unsent.length ? 0 : found?.last;
  const said = exchanges
    .filter(({ number, lost }) => lost || !replaced.has(number))
    .map((one) => {
      const [sent, replied] = found?.times[one.number] ?? [];
      return { ...one, state: "stored", note: "stored", sent, replied, last: !one.lost && one.number === last };
    });
  const waiting = unsent.map((message) => {
    const { text = message.partial ?? "", position = 0 } = outbox.progress(message.key) ?? {};
    return { ...message, id: message.key, reply: text, position, note: noteOf(message), sent: message.at };
  });
  const lost = 2 * exchanges.filter((one) => one.lost).length;
  const left = document.activeElement;
  log.show(inOrder(said, waiting), lost + Math.max(0, unread - earlier));
  const busy = unsent.some(outbox.onItsWay);
  log.busy = unsent.some(({ state }) => state === "sending");
  composer.busy = busy;
  welcome.hidden = Boolean(said.length || waiting.length || reading || found?.session);
  if (!document.contains(left) || !left.checkVisibility()) composer.focus();
}

// What waits for an answer comes last; what was stopped or failed stands where it was said.
function inOrder(said, waiting) {
  const items = [...said];
  for (const item of waiting) {
    const later = outbox.onItsWay(item) ? -1 : items.findIndex(({ sent }) => sent > item.sent);
    items.splice(later < 0 ? items.length : later, 0, item);
  }
  return items;
}

function noteOf({ state, problem }) {
  if (state === "failed") return problem;
  return state === "queued" && !isReady() ? "offline" : state;
}

// Count what is in the box too, if there is something.
async function measure() {
  const { text, replace } = composer.draft;
  const id = current;
  const typed = text.trim();
  if (composer.over) return;
  const told = await meter.measure(session(), { text: typed, replace });
  if (!told || current !== id) return;
  if (typed) composer.warn(told.truncated_tokens);
  else if (!replace) forgetUntil(told.truncated_turns);
}

// The model no longer reads so many of the oldest turns.
function forgetUntil(count) {
  if (unread === count) return;
  unread = count;
  show();
}

function send(text, replace, temperature) {
  outbox.add(current, { text, replace, temperature });
  log.follow();
}

function takeBack({ key }) {
  const { text, temperature, replace } = outbox.take(current, key);
  if (temperature) return;
  if (replace && replace === record().last) composer.edit(text, replace);
  else composer.giveBack(text);
}

async function saveAsText(id) {
  const found = conversations.get(id);
  try {
    const said = found.session ? await allTurns((before) => history(found.session, before)) : [];
    save(nameOf(found), said, found.unsent);
  } catch (problem) {
    announce(problem.message);
    log.note(`The conversation could not be exported. ${problem.message}`);
  }
}

function askToForget(id) {
  const found = conversations.get(id);
  document.getElementById("question-name").textContent = nameOf(found);
  question.returnValue = "";
  question.showModal();
  question.addEventListener("close", () => question.returnValue === "forget" && forgetIt(id), { once: true });
}

async function forgetIt(id) {
  const found = conversations.get(id);
  for (const { key } of found?.unsent ?? []) outbox.take(id, key);
  try {
    if (found?.session) await forget(found.session);
  } catch (problem) {
    if (problem.code !== "unknown_conversation") {
      announce(problem.message);
      return log.note(`The conversation is not forgotten yet. ${problem.message}`);
    }
  }
  conversations.forget(id);
  announce("The conversation is forgotten.");
  if (id === current) {
    sidebar.close();
    open();
  }
}

outbox.open({
  begin: (id) => id === current && announce("The reply is being written."),
  text: (id, key, piece) => id === current && log.write(key, piece),
  position: (id) => id === current && show(),
  waits: (id) => id === current && announce("The connection was lost. Your message goes out again by itself."),
  stopped: (id, key, message) => {
    if (message?.temperature) outbox.take(id, key);
    if (id === current && message) announce(message.temperature ? "Stopped. The former reply stays." : "Stopped.");
  },
  failed: (id, key, { gone, text }) => {
    if (id !== current) return;
    if (gone) lose();
    show();
    announce(text);
  },
  refused: (id, message, problem) => {
    const moved = problem.status === 409;
    if (id !== current) {
      const { text } = conversations.draft(id);
      if (!message.temperature) conversations.keepDraft(id, { text: [message.text, text].filter(Boolean).join("\n") });
      return;
    }
    const late = problem.code === "exchange_replaced";
    if (!message.temperature && !late) composer.giveBack(message.text);
    const reason = !moved ? problem.message : late ? "" : message.temperature ? NOT_REPLACED : WENT_ON;
    composer.refuse(reason);
    announce(reason);
    if (moved) refresh();
  },
  stored: (id, message, done) => {
    if (id !== current) return;
    log.rename(message.key, `exchange ${done.exchange}`);
    const before = exchanges.findLast(({ lost }) => !lost);
    whole = done.exchange === (before?.number ?? 0) + 1;
    exchanges = exchanges.filter(({ number, lost }) => lost || number !== message.replace);
    exchanges.push({
      id: `exchange ${done.exchange}`,
      number: done.exchange,
      text: message.text,
      reply: done.reply,
      cut: done.truncated_tokens,
    });
  },
  done: (id, done) => {
    if (id !== current) return;
    announce([shortened(done.truncated_tokens), `Chatbot: ${done.reply}`].filter(Boolean).join(" "));
    if (!whole) return refresh();
    if (composer.draft.text) forgetUntil(done.truncated_turns);
    measure();
  },
});

conversations.onChange((id) => {
  if (id !== current) return;
  const found = record();
  if (!found && exchanges.length) return open();
  show();
  if (!found) return;
  // Another tab got a reply.
  const seen = exchanges.findLast(({ lost }) => !lost)?.number ?? 0;
  if (found.last > seen && !reading && !found.unsent.some(({ key }) => outbox.progress(key))) refresh();
});
conversations.onFull((sentence) => log.note(sentence));
onReady(() => {
  show();
  if (session() && !exchanges.length) refresh();
});

for (const button of document.querySelectorAll(".fresh")) {
  button.addEventListener("click", () => {
    sidebar.close();
    open();
    announce("A new conversation.");
  });
}
for (const example of welcome.querySelectorAll("button")) {
  example.addEventListener("click", () => send(example.textContent));
}

// What the page remembered of its tab before it had a list.
function adopt() {
  const former = sessionStorage.getItem("session_id");
  if (!former) return undefined;
  sessionStorage.removeItem("session_id");
  const id = conversations.newKey();
  conversations.change(id, (found) => Object.assign(found, { session: former, title: "Earlier conversation" }));
  return id;
}

open(adopt() ?? sessionStorage.getItem("conversation") ?? undefined);
