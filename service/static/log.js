// The conversation as it is seen. All that is said is shown as text, never as HTML.

const UNREAD = "The model no longer reads what is above this line";
// So many pixels from the end still count as the end.
const END = 40;
const CONFIRMATION_MS = 2000;

// What is said of a message that is too long for the model by itself; empty of any other.
export function shortened(tokens) {
  if (!tokens) return "";
  const beginning = tokens === 1 ? "token" : `${tokens} tokens`;
  return `Too long for the model: it did not read the first ${beginning} of this message.`;
}

// Say something to those who listen to the page.
export function announce(text) {
  document.getElementById("announcer").replaceChildren(text);
}

export class Log {
  #view;
  #turns;
  #start = 0;
  #divider = make("p", "divider", UNREAD);
  #following = true;
  #top = 0;

  // `view` scrolls; `turns`, in it, holds what is said.
  constructor(view, turns) {
    this.#view = view;
    this.#turns = turns;
    view.addEventListener("scroll", () => this.#scrolled());
    const sizes = new ResizeObserver(() => this.#following && this.#scrollToEnd());
    sizes.observe(view);
    sizes.observe(turns);
  }

  get empty() {
    return !this.#turns.querySelector(".exchange");
  }

  set busy(busy) {
    this.#view.ariaBusy = String(busy);
  }

  // Show a message; its reply is to come.
  begin(text) {
    const exchange = new Exchange(text);
    this.#turns.append(exchange.element);
    this.#following = true;
    return exchange;
  }

  note(message, choices = []) {
    this.#turns.append(makeNote(message, choices));
  }

  clear() {
    this.#turns.replaceChildren();
    this.#start = 0;
  }

  // So many turns of the conversation are not shown.
  skip(count) {
    this.#start = -count;
  }

  // The conversation goes on as a new one.
  restart() {
    this.#start = this.#kept().length;
    this.mark(0);
  }

  // Show that the model no longer reads so many of the conversation's oldest turns.
  mark(count) {
    const turns = this.#kept();
    const unread = this.#start + count;
    turns.forEach((turn, i) => turn.classList.toggle("unread", i < unread));
    if (unread > 0) turns[Math.min(unread, turns.length) - 1]?.after(this.#divider);
    else this.#divider.remove();
  }

  #kept() {
    return [...this.#turns.querySelectorAll(".exchange:not(.failed) > .turn")];
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
class Exchange {
  #reply = makeTurn("bot", "Chatbot", "");

  constructor(text) {
    this.element = make("div", "exchange");
    this.element.append(makeTurn("user", "You", text), this.#reply);
    this.#reply.classList.add("writing");
  }

  // Mark the message as one whose beginning, of so many tokens, the model did not read.
  shorten(tokens) {
    if (tokens) this.element.firstChild.append(make("p", "fine shortened", shortened(tokens)));
  }

  write(piece) {
    this.#reply.firstChild.append(piece);
  }

  finish(text) {
    this.#reply.classList.remove("writing");
    this.#reply.firstChild.textContent = text;
    // Browsers give no clipboard to pages outside of HTTPS and localhost.
    if (navigator.clipboard) this.#reply.append(makeCopy(text));
  }

  fail(message, choices, { calm }) {
    this.element.classList.add("failed");
    this.#reply.classList.remove("writing");
    if (!this.#reply.textContent) this.#reply.remove();
    this.element.append(makeNote(message, choices, calm));
  }

  remove() {
    this.element.remove();
  }
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function makeTurn(kind, speaker, text) {
  const turn = make("article", `turn ${kind}`);
  turn.ariaLabel = speaker;
  turn.append(make("p", "text", text));
  return turn;
}

function makeCopy(text) {
  const button = makeButton("Copy", async () => {
    const said = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Not allowed");
    announce(said);
    button.textContent = said;
    setTimeout(() => button.replaceChildren("Copy"), CONFIRMATION_MS);
  });
  button.classList.add("copy");
  return button;
}

// A sentence, and what can be done about it: choices with a `label` and an `act`, some only `after` so many seconds.
function makeNote(message, choices, calm = true) {
  const note = make("div", calm ? "note" : "note error");
  const buttons = make("div", "choices");
  buttons.append(...choices.map(makeChoice));
  note.append(make("p", "", message), buttons);
  return note;
}

function makeChoice({ label, act, after = 0 }) {
  const button = makeButton(label, () => button.ariaDisabled !== "true" && act());
  const count = (seconds) => {
    button.ariaDisabled = String(seconds > 0);
    button.textContent = seconds > 0 ? `${label} in ${seconds} s` : label;
    if (seconds > 0) setTimeout(count, 1000, seconds - 1);
  };
  count(after);
  return button;
}

function makeButton(label, act) {
  const button = make("button", "", label);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}
