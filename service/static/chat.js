"use strict";

const log = document.getElementById("log");
const form = document.getElementById("form");
const prompt = document.getElementById("prompt");
const send = form.querySelector("button");
// Without the cookie, which would bring an old conversation into a new tab and back after "New conversation".
const credentials = "omit";
let session = sessionStorage.getItem("session_id");
// What is under way belongs to the conversation that it began in.
let conversation = 0;

function show(kind, text) {
  const turn = document.createElement("div");
  turn.className = `turn ${kind}`;
  turn.textContent = text;
  log.append(turn);
  log.scrollTop = log.scrollHeight;
  return turn;
}

function remember(id) {
  session = id;
  if (id) sessionStorage.setItem("session_id", id);
  else sessionStorage.removeItem("session_id");
}

// By its key the service knows a message that is sent again; outside of HTTPS and localhost there is no randomUUID.
async function ask(text, key = crypto.randomUUID?.()) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers["Idempotency-Key"] = key;
  if (session) headers["X-Session-Id"] = session;
  const begun = conversation;
  send.disabled = true;
  const turn = show("bot waiting", "…");
  try {
    const response = await fetch("chatbot", { method: "POST", headers, body: JSON.stringify({ prompt: text }), credentials });
    const reply = await response.text();
    if (begun !== conversation) return;
    if (!response.ok) {
      if (response.status === 404) remember(null);
      throw new Error(reply);
    }
    remember(response.headers.get("X-Session-Id"));
    turn.textContent = reply;
    turn.classList.remove("waiting");
  } catch (error) {
    if (begun !== conversation) return;
    turn.remove();
    const problem = show("error", error instanceof TypeError ? "The service cannot be reached." : error.message);
    const retry = document.createElement("button");
    retry.type = "button";
    retry.textContent = "Try again";
    retry.addEventListener("click", () => {
      if (send.disabled) return;
      problem.remove();
      ask(text, key);
    });
    problem.append(retry);
  } finally {
    if (begun === conversation) send.disabled = false;
    log.scrollTop = log.scrollHeight;
    prompt.focus();
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (!text || send.disabled) return;
  show("user", text);
  prompt.value = "";
  ask(text);
});

prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

document.getElementById("fresh").addEventListener("click", () => {
  conversation += 1;
  send.disabled = false;
  remember(null);
  log.replaceChildren();
  prompt.focus();
});

async function restore() {
  if (!session) return;
  const response = await fetch(`sessions/${encodeURIComponent(session)}`, { credentials });
  if (response.status === 404) remember(null);
  if (!response.ok) return;
  const { turns } = await response.json();
  for (const turn of turns) show(turn.speaker, turn.text);
}

restore().catch(() => {});
