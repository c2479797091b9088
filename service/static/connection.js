// Whether the service can answer, and what the page says while it cannot.

import { announce } from "./elements.js";
import { state } from "./service.js";

const POLL_MS = 2000;
const LONGEST_MS = 30_000;
const OFFLINE = "You are offline. What you send is kept here, and goes out when you are back.";

const band = document.getElementById("state");
const model = document.getElementById("model");
const listeners = new Set();

let ready = band.hidden;
let watching = false;

export function isReady() {
  return ready;
}

// Call whenever the service can answer again.
export function onReady(listener) {
  listeners.add(listener);
}

// Ask until the service can answer, at first after so many tries in vain.
export async function watch(tries = 0) {
  ready = false;
  if (watching) return;
  watching = true;
  if (tries > 1) await pause(Math.min(LONGEST_MS, 1000 * 2 ** (tries - 2)));
  for (;;) {
    const now = await state();
    if (now.ready) {
      show(now);
      break;
    }
    say(navigator.onLine ? now.reason : OFFLINE);
    await pause(POLL_MS);
  }
  watching = false;
  ready = true;
  for (const listener of listeners) listener();
}

function pause(ms) {
  const woken = new AbortController();
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    addEventListener("online", resolve, { signal: woken.signal });
  }).finally(() => woken.abort());
}

function say(reason) {
  if (band.hidden || band.textContent !== reason) announce(reason);
  band.textContent = reason;
  band.hidden = false;
}

function show(now) {
  if (!band.hidden) announce("The model is ready.");
  band.hidden = true;
  model.textContent = now.model;
  document.title = `Chatbot · ${now.model}`;
  for (const place of document.querySelectorAll(".notice")) place.textContent = now.notice;
  for (const holder of document.querySelectorAll("[data-notice]")) holder.hidden = !now.notice;
}

addEventListener("offline", () => watch());
if (!ready) watch();
