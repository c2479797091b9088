// The service as the page speaks to it: each function brings what was asked for, or throws a Problem.

import { events } from "./events.js";
import { askForKey, authorization } from "./key.js";

const UNREACHABLE = "The service cannot be reached.";
const CUT_OFF = "The connection was lost before the reply was complete.";
const credentials = "omit";

export class Problem extends Error {
  constructor(message, { status = 0, code = "", retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }

  static async of(response) {
    const { detail, title } = await response.json().catch((error) => {
      if (error.name === "AbortError") throw error;
      return {};
    });
    return new Problem(detail ?? `The service answered with status ${response.status}.`, {
      status: response.status,
      code: title,
      retryAfter: Number(response.headers.get("Retry-After")) || 0,
    });
  }
}

async function call(path, { headers, ...options } = {}) {
  for (;;) {
    const response = await fetch(path, {
      ...options,
      headers: { Accept: "application/json", ...headers, ...authorization() },
      credentials,
    }).catch((error) => {
      throw error.name === "AbortError" ? error : new Problem(UNREACHABLE);
    });
    if (response.ok) return response;
    const problem = await Problem.of(response);
    if (problem.status !== 401 || !(await askForKey())) throw problem;
  }
}

// Send a message; `onText` gets the reply piece by piece. Returns the object that ends the stream.
export async function ask(text, { session, key, signal, onText }) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  if (session) headers["X-Session-Id"] = session;
  const body = JSON.stringify({ prompt: text, stream: true });
  const response = await call("chatbot", { method: "POST", headers, body, signal });
  try {
    for await (const { name, data } of events(response.body)) {
      if (name === "done") return data;
      if (name === "error") throw new Problem(data.detail, { status: data.status, code: data.title });
      if (name === "message") onText(data.delta);
    }
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
  }
  throw new Problem(CUT_OFF);
}

// The latest turns of a conversation, how many were before them, and how many of the oldest the model no longer reads.
export async function history(session) {
  const response = await call(`sessions/${encodeURIComponent(session)}`);
  return response.json();
}

// Whether the model can answer: `ready` with `model` and `notice`, or the `reason` why not.
export async function state() {
  try {
    const response = await fetch("readyz", { credentials, cache: "no-store" });
    return { ...(await response.json()), ready: response.ok };
  } catch {
    return { ready: false, reason: UNREACHABLE };
  }
}
