// The list of conversations: at the side of wide windows, in a sheet over narrow ones.

import { all, onChange } from "./conversations.js";
import { make, makeButton } from "./elements.js";

const WIDE = matchMedia("(min-width: 60rem)");
const NAMELESS = "New conversation";

const side = document.getElementById("side");
const panel = document.getElementById("panel");
const list = document.getElementById("list");
const none = document.getElementById("none");
const sheet = document.getElementById("sheet");

export function nameOf({ title }) {
  return title || NAMELESS;
}

export class Sidebar {
  #act;
  #current = "";
  #renaming = "";
  #items = new Map();

  // `act` has what buttons do: `open`, `rename`, `save` and `forget`.
  constructor(act) {
    this.#act = act;
    onChange(() => this.#show());
    WIDE.addEventListener("change", () => this.close());
    document.getElementById("open-list").addEventListener("click", () => {
      sheet.append(panel);
      sheet.showModal();
    });
    document.getElementById("close-list").addEventListener("click", () => this.close());
    sheet.addEventListener("click", (event) => event.target === sheet && this.close());
    sheet.addEventListener("close", () => side.append(panel));
    this.#show();
  }

  set current(id) {
    this.#current = id;
    this.#show();
  }

  close() {
    sheet.close();
  }

  #show() {
    const found = all();
    none.hidden = found.length > 0;
    const gone = new Map(this.#items);
    let place = 0;
    for (const conversation of found) {
      gone.delete(conversation.id);
      const item = this.#items.get(conversation.id) ?? this.#begin(conversation.id);
      item.update(conversation, conversation.id === this.#current, conversation.id === this.#renaming);
      if (list.children[place] !== item.element) list.insertBefore(item.element, list.children[place] ?? null);
      place += 1;
    }
    for (const [id, item] of gone) {
      item.element.remove();
      this.#items.delete(id);
    }
  }

  #begin(id) {
    const item = new Item({
      open: () => this.#act.open(id),
      save: () => this.#act.save(id),
      forget: () => this.#act.forget(id),
      rename: () => this.#rename(id),
      named: (title) => {
        this.#renaming = "";
        if (title) this.#act.rename(id, title);
        this.#show();
      },
    });
    this.#items.set(id, item);
    return item;
  }

  #rename(id) {
    this.#renaming = id;
    this.#show();
  }
}

class Item {
  #open;
  #field = make("input", "");
  #tools;
  #hint = make("small", "");
  #name = make("span", "");
  #title = "";

  constructor(act) {
    this.#open = makeButton("", act.open, "open");
    this.#open.append(this.#name, this.#hint);
    this.#tools = make("div", "tools", makeButton("Rename", act.rename), makeButton("Export", act.save), makeButton("Forget", act.forget));
    this.#field.ariaLabel = "Name of the conversation";
    this.#field.maxLength = 80;
    const end = (title) => {
      if (this.#field.hidden) return;
      act.named(title);
      this.#open.focus();
    };
    this.#field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key !== "Enter" && event.key !== "Escape") return;
      // Enter would open what gets the focus, and Escape close the sheet.
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter" ? this.#field.value.trim() : "");
    });
    this.#field.addEventListener("blur", () => end(this.#field.value.trim()));
    this.element = make("li", "", this.#open, this.#field, this.#tools);
  }

  update(conversation, current, renaming) {
    this.#title = nameOf(conversation);
    this.#name.textContent = this.#title;
    this.#open.title = this.#title;
    this.#open.ariaCurrent = String(current);
    const waiting = conversation.unsent.length;
    this.#hint.textContent = waiting ? `${waiting} not answered` : "";
    this.#tools.hidden = !current || renaming;
    this.#open.hidden = renaming;
    if (renaming && this.#field.hidden) {
      this.#field.hidden = false;
      this.#field.value = this.#title;
      this.#field.select();
      this.#field.focus();
    }
    this.#field.hidden = !renaming;
  }
}
