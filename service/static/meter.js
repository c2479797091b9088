// How much of what the model reads at once a conversation takes.

import { count } from "./service.js";

const TYPING_MS = 350;

export class Meter {
  #element;
  #words;
  #counting = new AbortController();

  constructor(element) {
    this.#element = element;
    this.#words = element.querySelector("span");
  }

  // Count a conversation, with a message that is being written. Returns what the service says; undefined if it says
  // nothing, or another count has begun.
  async measure(session, { text = "", replace } = {}) {
    this.#counting.abort();
    const mine = new AbortController();
    this.#counting = mine;
    if (!session && !text) {
      this.#hide();
      return undefined;
    }
    if (text) await new Promise((resolve) => setTimeout(resolve, TYPING_MS));
    if (mine.signal.aborted) return undefined;
    try {
      const told = await count(session, { text, replace, signal: mine.signal });
      if (mine.signal.aborted) return undefined;
      this.#show(told);
      return told;
    } catch {
      // The last figure stands until the service tells another one.
      return undefined;
    }
  }

  #hide() {
    this.#element.classList.remove("known");
    this.#element.ariaHidden = "true";
  }

  #show({ prompt_tokens: tokens, window, truncated_turns: dropped }) {
    const full = dropped > 0;
    const words = `${tokens} of ${window} tokens${full ? ", and the oldest messages no longer" : ""}`;
    this.#element.classList.add("known");
    this.#element.classList.toggle("full", full);
    this.#element.ariaHidden = null;
    this.#element.ariaValueMax = String(window);
    this.#element.ariaValueNow = String(tokens);
    this.#element.ariaValueText = words;
    this.#element.title = `The model reads ${words}.`;
    this.#element.style.setProperty("--share", tokens / window);
    this.#words.textContent = full ? "Memory full" : `${tokens} of ${window} tokens`;
  }
}
