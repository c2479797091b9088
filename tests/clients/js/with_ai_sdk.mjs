// The AI SDK: messages of replies go back as it makes them.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

export async function talk({ base_url, texts, long }) {
  const provider = createOpenAICompatible({ name: "chatbot", baseURL: base_url, apiKey: "none" });
  const ask = { model: provider("auto"), maxRetries: 0 };
  const messages = [];
  const turns = [];
  for (const content of texts) {
    messages.push({ role: "user", content });
    const { text, response } = await generateText({ ...ask, messages });
    messages.push(...response.messages);
    turns.push(text);
  }
  const pieces = [];
  for await (const piece of streamText({ ...ask, prompt: texts[0] }).textStream) pieces.push(piece);
  const error = await generateText({ ...ask, prompt: long }).then(() => "", (error) => `${error.name}: ${error.message}`);
  return { turns, pieces, error };
}
