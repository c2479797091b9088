// No client, but headers as clients add them: what a browser asks for in a preflight is what it finds here.
const headers = {
  Authorization: "Bearer none",
  "Cache-Control": "no-cache",
  "Content-Type": "application/json",
  "User-Agent": "Client/JS 1.0",
  "X-Requested-With": "XMLHttpRequest",
  "X-Stainless-Lang": "js",
  "X-Title": "A page",
};

export async function talk({ base_url, texts, long }) {
  const send = (body, path = "/chat/completions") =>
    fetch(base_url + path, { method: "POST", headers, body: JSON.stringify(body) });
  const reply = async (messages) => (await (await send({ messages })).json()).choices[0].message;
  const messages = [];
  const turns = [];
  for (const content of texts) {
    messages.push({ role: "user", content });
    messages.push(await reply(messages));
    turns.push(messages.at(-1).content);
  }
  const streamed = await send({ messages: messages.slice(0, 1), stream: true });
  const pieces = [];
  for (const line of (await streamed.text()).split("\n")) {
    if (line.startsWith("data: {")) pieces.push(JSON.parse(line.slice(6)).choices[0].delta.content ?? "");
  }
  const error = async (...sent) => (await (await send(...sent)).json()).error.message;
  const lost = await error({ messages }, "/v1/chat/completions");
  return { turns, pieces, error: `${await error({ messages: [{ role: "user", content: long }] })} ${lost}` };
}
