// The API key, where the service wants one: asked for once, kept by the tab.

const gate = document.getElementById("gate");
const reason = document.getElementById("gate-reason");
const field = document.getElementById("key");

let asking = null;

export function authorization() {
  const key = sessionStorage.getItem("api_key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// Show the form, once for all who ask meanwhile; true when a key was given.
export function askForKey() {
  asking ??= show().finally(() => {
    asking = null;
  });
  return asking;
}

function show() {
  reason.textContent = sessionStorage.getItem("api_key")
    ? "That key was not accepted; try another one."
    : "Whoever runs the service can give you one.";
  field.value = "";
  gate.returnValue = "";
  gate.showModal();
  field.focus();
  return new Promise((resolve) => {
    gate.addEventListener("close", () => {
      const given = gate.returnValue === "given";
      if (given) sessionStorage.setItem("api_key", field.value);
      field.value = "";
      resolve(given);
    }, { once: true });
  });
}
