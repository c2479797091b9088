// OpenAI's agents: a run's history is the next run's input.
import { Agent, OpenAIChatCompletionsModel, run, setTracingDisabled } from "@openai/agents";
import OpenAI from "openai";

export async function talk({ base_url, texts, long }) {
  setTracingDisabled(true);
  const client = new OpenAI({ baseURL: base_url, apiKey: "none", maxRetries: 0 });
  const agent = new Agent({ name: "chatbot", model: new OpenAIChatCompletionsModel(client, "auto") });
  let history = [];
  const turns = [];
  for (const content of texts) {
    const result = await run(agent, [...history, { role: "user", content }]);
    history = result.history;
    turns.push(result.finalOutput);
  }
  const pieces = [];
  const streamed = await run(agent, texts[0], { stream: true });
  for await (const piece of streamed.toTextStream()) pieces.push(piece);
  await streamed.completed;
  const error = await run(agent, long).then(() => "", (error) => `${error.code}: ${error.message}`);
  return { turns, pieces, error };
}
