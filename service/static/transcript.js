// A conversation as a text file.

const SPEAKERS = { user: "You", bot: "Chatbot" };

// All turns of a conversation, oldest first; `history` brings the latest, or those before so many.
export async function allTurns(history) {
  let { turns, earlier_turns: earlier } = await history();
  while (earlier) {
    const page = await history(earlier);
    turns = [...page.turns, ...turns];
    earlier = page.earlier_turns;
  }
  return turns;
}

// Let the browser save them; `unsent` holds messages that have no reply.
export function save(title, turns, unsent) {
  const said = turns.map(({ speaker, text }) => `${SPEAKERS[speaker]}: ${text}`);
  const waiting = unsent.map(({ text }) => `You (not sent): ${text}`);
  const text = [title, new Date().toLocaleString(), ...said, ...waiting].join("\n\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text, "\n"], { type: "text/plain" }));
  link.download = `${title.replace(/[^\p{L}\p{N} -]+/gu, "").trim() || "conversation"}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
