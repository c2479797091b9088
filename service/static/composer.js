// The box in which messages are written: drafts, limits, and the last message when it is said differently.

import { announce } from "./elements.js";

// From this share of the limit on, characters are counted.
const NEAR = 0.8;

const [form, prompt, sendButton, stopButton, counter, cut, refusal, editing] = [
  "form", "prompt", "send", "stop", "counter", "cut", "refusal", "editing",
].map((id) => document.getElementById(id));
const limit = Number(form.dataset.limit);

export class Composer {
  #act;
  #replace;
  // What was being written before the last message came into the box.
  #aside = "";

  // `act` has what happens: `send` of a text and the exchange that it replaces, `stop`, and `typed`.
  constructor(act) {
    this.#act = act;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    prompt.addEventListener("input", () => this.#changed());
    prompt.addEventListener("keydown", (event) => this.#key(event));
    stopButton.addEventListener("click", act.stop);
    document.getElementById("leave").addEventListener("click", () => this.#leave());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || document.querySelector(":modal, :popover-open")) return;
      if (this.#replace) this.#leave();
      else act.stop();
    });
  }

  get draft() {
    return { text: prompt.value, ...(this.#replace && { replace: this.#replace, aside: this.#aside }) };
  }

  // Whether there are more characters in the box than the service takes.
  get over() {
    return length(prompt.value.trim()) > limit;
  }

  set busy(busy) {
    const had = document.activeElement === stopButton;
    stopButton.hidden = !busy;
    if (had && !busy) prompt.focus();
  }

  // Put a draft into the box, as it was kept.
  load({ text = "", replace, aside = "" }) {
    this.#replace = replace;
    this.#aside = aside;
    this.refuse("");
    this.#set(text);
  }

  // Say the last message differently.
  edit(text, exchange) {
    if (!this.#replace) this.#aside = prompt.value;
    this.#replace = exchange;
    this.#set(text);
    prompt.focus();
    announce("Editing your last message.");
  }

  // Put a text back, before what has been written since.
  giveBack(text) {
    this.#set([text, prompt.value].filter(Boolean).join("\n"));
    prompt.focus();
  }

  // The exchange that is being said differently is no longer the last one; what was typed stays.
  detach() {
    if (!this.#replace) return;
    this.#replace = undefined;
    this.#set([prompt.value, this.#aside].filter(Boolean).join("\n"));
  }

  refuse(reason) {
    refusal.textContent = reason;
    refusal.hidden = !reason;
  }

  // Say what the model would not read of what is in the box.
  warn(tokens) {
    const beginning = tokens === 1 ? "token" : `${tokens} tokens`;
    cut.textContent = tokens ? `Too long for the model: it will not read the first ${beginning} of this.` : "";
    cut.hidden = !tokens;
  }

  // Where there is no keyboard, the focus would bring one up.
  focus() {
    if (matchMedia("(hover: hover)").matches) prompt.focus();
  }

  #submit() {
    const text = prompt.value.trim();
    const over = length(text) - limit;
    if (!text) return;
    if (over > 0) {
      announce(overLimit(over));
      return;
    }
    const replace = this.#replace;
    const aside = replace ? this.#aside : "";
    this.load({ text: aside });
    this.#act.send(text, replace);
    prompt.focus();
  }

  #leave() {
    this.load({ text: this.#aside });
    this.#act.typed();
    prompt.focus();
  }

  #key(event) {
    // While an input method composes, Enter chooses a word; 229 is how Safari says so.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    form.requestSubmit();
  }

  #set(text) {
    prompt.value = text;
    this.#changed();
  }

  #changed() {
    const size = length(prompt.value.trim());
    const over = size - limit;
    counter.hidden = size < NEAR * limit;
    const figures = `${size.toLocaleString("en")} of ${limit.toLocaleString("en")}`;
    counter.textContent = counter.hidden ? "" : over > 0 ? overLimit(over) : figures;
    counter.classList.toggle("over", over > 0);
    prompt.ariaInvalid = String(over > 0);
    sendButton.ariaDisabled = String(over > 0 || !size);
    editing.hidden = !this.#replace;
    if (!size) this.warn(0);
    if (size) this.refuse("");
    grow();
    this.#act.typed();
  }
}

// Characters as the service counts them.
function length(text) {
  return [...text].length;
}

function overLimit(over) {
  return over === 1 ? "1 character over the limit" : `${over.toLocaleString("en")} characters over the limit`;
}

function grow() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

// Where a keyboard covers the page and does not make it smaller, the page makes room for it.
const seen = window.visualViewport;
seen?.addEventListener("resize", () => {
  const covered = innerHeight - seen.height > 1 && seen.scale === 1;
  document.documentElement.style.setProperty("--height", covered ? `${seen.height}px` : "100dvh");
  if (covered) scrollTo(0, 0);
});
