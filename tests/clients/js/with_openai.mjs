// OpenAI's own package: messages of replies go back as they came, from plain requests and from the streaming helper.
import OpenAI from "openai";

export async function talk({ base_url, texts, long }) {
  const client = new OpenAI({ baseURL: base_url, apiKey: "none", maxRetries: 0, dangerouslyAllowBrowser: true });
  const messages = [];
  const turns = [];
  for (const [place, content] of texts.entries()) {
    messages.push({ role: "user", content });
    const asked = { model: "auto", messages };
    const completion = place
      ? await client.chat.completions.stream(asked).finalChatCompletion()
      : await client.chat.completions.create(asked);
    messages.push(completion.choices[0].message);
    turns.push(completion.choices[0].message.content);
  }
  const pieces = [];
  const chunks = await client.chat.completions.create({ model: "auto", messages: messages.slice(0, 1), stream: true });
  for await (const chunk of chunks) pieces.push(chunk.choices[0].delta.content ?? "");
  const refused = { model: "auto", messages: [{ role: "user", content: long }] };
  const error = await client.chat.completions.create(refused).then(() => "", (error) => `${error.code}: ${error.message}`);
  return { turns, pieces, error };
}
