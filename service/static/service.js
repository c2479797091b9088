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

  // Whether nobody knows if the service got the request.
  get lost() {
    return this.status === 0;
  }
}

// `quiet`: fail without a key, and do not ask for one.
async function call(path, { headers, quiet = false, ...options } = {}) {
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
    if (problem.status !== 401 || quiet || !(await askForKey())) throw problem;
  }
}

function post(path, session, body, options) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  if (session) headers["X-Session-Id"] = session;
  return call(path, { ...options, method: "POST", headers, body: JSON.stringify(body) });
}

// Send a message; `onText` gets the reply piece by piece, `onPosition` its place in the queue. Returns the object that
// ends the stream.
export async function ask({ key, text, replace, temperature }, { session, signal, onText, onPosition }) {
  const body = { prompt: text, stream: true, replace, temperature };
  const response = await post("chatbot", session, body, { signal, headers: { "Idempotency-Key": key } });
  try {
    for await (const { name, data } of events(response.body)) {
      if (name === "done") return data;
      if (name === "error") throw new Problem(data.detail, { status: data.status, code: data.title });
      if (name === "queue") onPosition(data.position);
      else onText(data.delta);
    }
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
  }
  throw new Problem(CUT_OFF);
}

// How many tokens the model would read of a conversation and a message that is not sent yet.
export async function count(session, { text, replace, signal } = {}) {
  const response = await post("tokenize", session, { prompt: text, replace }, { signal, quiet: true });
  return response.json();
}

// The latest turns of a conversation, or those before so many, how many were before them, and how many of the oldest
// the model no longer reads.
export async function history(session, before) {
  const response = await call(`sessions/${encodeURIComponent(session)}${before ? `?before=${before}` : ""}`);
  return response.json();
}

export async function forget(session) {
  await call(`sessions/${encodeURIComponent(session)}`, { method: "DELETE" });
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
