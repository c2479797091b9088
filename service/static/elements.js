// Elements of the page. What they hold is text, never HTML.

const CONFIRMATION_MS = 2000;

export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...content);
  return element;
}

export function makeButton(label, act, className = "") {
  const button = make("button", className, label);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

// A button for each of the choices: a `label` and an `act`, some only at a time `at`, in ms.
export function makeChoices(choices) {
  const buttons = make("div", "choices");
  buttons.append(...choices.map(makeChoice));
  return buttons;
}

function makeChoice({ label, act, at = 0 }) {
  const button = makeButton(label, () => button.ariaDisabled !== "true" && act());
  const count = () => {
    const seconds = Math.max(0, Math.ceil((at - Date.now()) / 1000));
    button.ariaDisabled = String(seconds > 0);
    button.textContent = seconds > 0 ? `${label} in ${seconds} s` : label;
    if (seconds > 0) setTimeout(count, 1000);
  };
  count();
  return button;
}

// Browsers give no clipboard to pages outside of HTTPS and localhost.
export function makeCopy(text, name) {
  if (!navigator.clipboard) return "";
  const button = makeButton("Copy", async () => {
    const said = await navigator.clipboard.writeText(text()).then(() => "Copied", () => "Not allowed");
    announce(said);
    button.textContent = said;
    setTimeout(() => button.replaceChildren("Copy"), CONFIRMATION_MS);
  });
  if (name) button.ariaLabel = name;
  return button;
}

// Say something to those who listen to the page.
export function announce(text) {
  document.getElementById("announcer").replaceChildren(text);
}
