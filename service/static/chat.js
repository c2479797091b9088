// The page: what happens when someone writes, presses a button, or comes back.

import { Log, announce, shortened } from "./log.js";
import { ask, history, state } from "./service.js";

const POLL_MS = 2000;
const STOPPED = "Stopped. Neither your message nor this reply is kept in the conversation.";
const GONE = "The service no longer has this conversation; it may have expired. Your next message starts a new one.";
// A message that was refused with one of these would be refused again.
const WRONG = [400, 413, 422];

const [fresh, model, notice, status, welcome, form, prompt, sendButton, stopButton] = [
  "fresh", "model", "notice", "state", "welcome", "form", "prompt", "send", "stop",
].map((id) => document.getElementById(id));
const log = new Log(document.getElementById("log"), document.getElementById("turns"));

// A conversation belongs to its tab: the cookie, which would bring it into other tabs, is not sent.
let session = sessionStorage.getItem("session_id");
// Ends the reply that is being written.
let writing = null;

function remember(id) {
  session = id;
  if (id) sessionStorage.setItem("session_id", id);
  else sessionStorage.removeItem("session_id");
}

function show() {
  const left = document.activeElement;
  log.busy = Boolean(writing);
  welcome.hidden = Boolean(writing) || !log.empty;
  sendButton.hidden = Boolean(writing);
  stopButton.hidden = !writing;
  if (!left.checkVisibility()) prompt.focus();
}

function fill(text) {
  prompt.value = text;
  grow();
  prompt.focus();
}

function grow() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

// The service knows a message that is sent again by its key. (There is no randomUUID outside of HTTPS and localhost.)
function newKey() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

async function send(text, key = newKey()) {
  const mine = new AbortController();
  const exchange = log.begin(text);
  writing = mine;
  show();
  announce("The reply is being written.");
  let problem = null;
  try {
    const done = await ask(text, { session, key, signal: mine.signal, onText: (piece) => exchange.write(piece) });
    // Another conversation may have begun meanwhile.
    if (writing !== mine) return;
    remember(done.session_id);
    exchange.finish(done.reply);
    exchange.shorten(done.truncated_tokens);
    log.mark(done.truncated_turns);
    announce([shortened(done.truncated_tokens), `Chatbot: ${done.reply}`].filter(Boolean).join(" "));
  } catch (error) {
    if (writing !== mine) return;
    problem = error;
  }
  writing = null;
  if (problem) fail(exchange, problem, text, key);
  show();
}

function fail(exchange, problem, text, key) {
  const stopped = problem.name === "AbortError";
  const gone = problem.code === "unknown_conversation";
  const message = stopped ? STOPPED : gone ? GONE : problem.message;
  const again = () => {
    exchange.remove();
    prompt.focus();
    send(text, key);
  };
  const edit = () => {
    exchange.remove();
    fill([text, prompt.value].filter(Boolean).join("\n"));
    show();
  };
  const choices = [{ label: "Edit", act: edit }];
  if (!WRONG.includes(problem.status)) {
    choices.unshift({ label: stopped ? "Send again" : "Try again", act: again, after: problem.retryAfter });
  }
  exchange.fail(message, choices, { calm: stopped });
  announce(message);
  if (gone) {
    remember(null);
    log.restart();
  }
  if (problem.code === "not_ready") watch();
}

async function restore() {
  const mine = session;
  if (!mine) return;
  try {
    const { turns, truncated_turns, earlier_turns } = await history(mine);
    if (session !== mine) return;
    log.skip(earlier_turns);
    if (earlier_turns) log.note(`${earlier_turns} earlier turns are not shown.`);
    for (let i = 0; i < turns.length; i += 2) {
      const exchange = log.begin(turns[i].text);
      exchange.shorten(turns[i].truncated_tokens);
      exchange.finish(turns[i + 1].text);
    }
    log.mark(truncated_turns);
  } catch (problem) {
    if (problem.code === "unknown_conversation") {
      remember(null);
      log.note("The earlier conversation of this tab has expired.");
    } else {
      const again = () => {
        log.clear();
        restored = restore();
      };
      log.note(`The earlier turns could not be read. ${problem.message}`, [{ label: "Try again", act: again }]);
    }
  }
  show();
}

// Until the model can answer.
let watching = false;
async function watch() {
  if (watching) return;
  watching = true;
  for (;;) {
    const now = await state();
    status.hidden = now.ready;
    sendButton.ariaDisabled = String(!now.ready);
    if (now.ready) {
      model.textContent = now.model;
      document.title = `Chatbot · ${now.model}`;
      notice.textContent = now.notice;
      notice.hidden = !now.notice;
      announce("The model is ready.");
      break;
    }
    if (status.textContent !== now.reason) announce(now.reason);
    status.textContent = now.reason;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  watching = false;
}

async function submit() {
  await restored;
  const text = prompt.value.trim();
  if (!text || writing) return;
  if (watching) {
    announce(status.textContent);
    return;
  }
  fill("");
  send(text);
}

function stop() {
  writing?.abort();
}

function restart() {
  stop();
  writing = null;
  remember(null);
  log.clear();
  show();
  prompt.focus();
  announce("A new conversation.");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
prompt.addEventListener("input", grow);
prompt.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word; 229 is how Safari says so.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing) stop();
});
stopButton.addEventListener("click", stop);
fresh.addEventListener("click", restart);
for (const example of welcome.querySelectorAll("button")) {
  example.addEventListener("click", () => {
    fill(example.textContent);
    submit();
  });
}

let restored = restore();
if (!status.hidden) watch();
