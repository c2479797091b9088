// A conversation as it is seen: exchanges, and messages that have no reply yet.

import { make, makeButton, makeChoices, makeCopy } from "./elements.js";

const UNREAD = "The model no longer reads what is above this line";
const NOTES = {
  stored: "",
  sending: "",
  stopped: "Stopped. Neither your message nor this reply is kept in the conversation.",
  held: "Waits for the message before it.",
  queued: "Waits for the reply before it.",
  offline: "Not sent yet. It goes out as soon as the service can answer.",
};
// So many pixels from the end still count as the end.
const END = 40;

// What is said of a message that is too long for the model by itself; empty of any other.
export function shortened(tokens) {
  if (!tokens) return "";
  const beginning = tokens === 1 ? "token" : `${tokens} tokens`;
  return `Too long for the model: it did not read the first ${beginning} of this message.`;
}

export class Log {
  #view;
  #turns;
  #act;
  #head = make("div", "head");
  #divider = make("p", "divider", UNREAD);
  #entries = new Map();
  #following = true;
  #top = 0;

  // `view` scrolls; `turns`, in it, holds what is said. `act` has what buttons do: `edit`, `anew`, `again`, `discard`.
  constructor(view, turns, act) {
    this.#view = view;
    this.#turns = turns;
    this.#act = act;
    turns.append(this.#head);
    view.addEventListener("scroll", () => this.#scrolled());
    const sizes = new ResizeObserver(() => this.#following && this.#scrollToEnd());
    sizes.observe(view);
    sizes.observe(turns);
  }

  set busy(busy) {
    this.#view.ariaBusy = String(busy);
  }

  // Show these items in their order, and the line below so many turns.
  show(items, unread) {
    const gone = new Map(this.#entries);
    let after = this.#head;
    for (const item of items) {
      gone.delete(item.id);
      const entry = this.#entries.get(item.id) ?? this.#begin(item);
      entry.update(item);
      if (after.nextElementSibling !== entry.element) after.after(entry.element);
      after = entry.element;
    }
    for (const [id, entry] of gone) {
      entry.element.remove();
      this.#entries.delete(id);
    }
    this.#mark(unread);
  }

  // The item with this id goes on under another one.
  rename(id, other) {
    const entry = this.#entries.get(id);
    if (!entry || this.#entries.has(other)) return;
    this.#entries.delete(id);
    this.#entries.set(other, entry);
  }

  write(id, piece) {
    this.#entries.get(id)?.write(piece);
  }

  // Say something above the conversation; nothing without a message.
  note(message = "", choices = []) {
    this.#head.replaceChildren(...(message ? [makeNote(message, choices)] : []));
  }

  follow() {
    this.#following = true;
    this.#scrollToEnd();
  }

  #begin(item) {
    const entry = new Entry(this.#act);
    this.#entries.set(item.id, entry);
    return entry;
  }

  #mark(unread) {
    const turns = [...this.#turns.querySelectorAll(".stored > .turn")];
    turns.forEach((turn, i) => turn.classList.toggle("unread", i < unread));
    const last = turns[Math.min(unread, turns.length) - 1];
    if (!last) this.#divider.remove();
    else if (last.nextElementSibling !== this.#divider) last.after(this.#divider);
  }

  // Follow the newest text until someone scrolls up to read.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#view;
    const up = scrollTop < this.#top;
    this.#following = scrollHeight - scrollTop - clientHeight < END || (this.#following && !up);
    this.#top = scrollTop;
  }

  #scrollToEnd() {
    this.#view.scrollTop = this.#view.scrollHeight;
  }
}

// A message and its reply.
class Entry {
  #act;
  #item = {};
  #note = make("div", "");
  #user = makeTurn("user", "You");
  #bot = makeTurn("bot", "Chatbot");
  #cut = make("p", "fine shortened");
  #sent = make("time", "");
  #replied = make("time", "");
  #waiting = make("p", "waiting");
  #edit = makeButton("Edit", () => this.#act.edit(this.#item));
  #anew = makeButton("Another reply", () => this.#act.anew(this.#item));

  constructor(act) {
    this.#act = act;
    this.element = make("div", "exchange", this.#user, this.#bot, this.#note);
    const own = makeCopy(() => this.#item.text, "Copy message");
    this.#user.append(this.#cut, make("div", "actions", this.#sent, own, this.#edit));
    this.#bot.append(this.#waiting, make("div", "actions", makeCopy(() => this.#item.reply), this.#anew, this.#replied));
  }

  update(item) {
    const before = this.#item;
    this.#item = item;
    const writing = item.state === "sending";
    this.element.className = `exchange ${item.state}`;
    setText(this.#user.firstChild, item.text);
    setText(this.#bot.firstChild, item.reply);
    if (writing || item.reply) this.#user.after(this.#bot);
    else this.#bot.remove();
    this.#bot.classList.toggle("writing", writing);
    setText(this.#waiting, writing ? waitingFor(item) : "");
    setText(this.#cut, shortened(item.cut));
    setTime(this.#sent, item.sent);
    setTime(this.#replied, item.replied);
    this.#edit.hidden = this.#anew.hidden = !item.last;
    if (before.state !== item.state || before.note !== item.note || before.retryAt !== item.retryAt) this.#tell(item);
  }

  write(piece) {
    setText(this.#waiting, "");
    this.#bot.firstChild.append(piece);
    this.#bot.firstChild.hidden = false;
  }

  #tell({ state, note, retryAt }) {
    const text = NOTES[note] ?? note;
    const again = { label: state === "stopped" ? "Send again" : "Try again", act: () => this.#act.again(this.#item), at: retryAt };
    const edit = { label: "Edit", act: () => this.#act.edit(this.#item) };
    const discard = { label: "Discard", act: () => this.#act.discard(this.#item) };
    const done = state === "stopped" || state === "failed";
    this.#note.replaceChildren(...(text ? [makeNote(text, done ? [again, edit, discard] : [edit], state)] : []));
  }
}

function waitingFor({ position, reply }) {
  if (reply) return "";
  if (position > 1) return position === 2 ? "One message is before yours" : `${position - 1} messages are before yours`;
  return position === 1 ? "Yours is next" : "Chatbot is writing";
}

function makeTurn(kind, speaker) {
  const turn = make("article", `turn ${kind}`, make("p", "text"));
  turn.ariaLabel = speaker;
  return turn;
}

// A sentence, and what can be done about it.
function makeNote(message, choices, kind = "") {
  return make("div", `note ${kind}`, make("p", "", message), makeChoices(choices));
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

function setTime(element, ms) {
  element.hidden = !ms;
  if (!ms) return;
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  element.dateTime = date.toISOString();
  element.textContent = date.toLocaleString([], { ...(!today && { day: "numeric", month: "short" }), hour: "numeric", minute: "2-digit" });
}

