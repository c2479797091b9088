// LangChain's ChatOpenAI: messages of replies go back as its own objects.
import { HumanMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";

export async function talk({ base_url, texts, long }) {
  const configuration = { baseURL: base_url, dangerouslyAllowBrowser: true };
  const model = new ChatOpenAI({ model: "auto", apiKey: "none", maxRetries: 0, configuration });
  const messages = [];
  const turns = [];
  for (const text of texts) {
    messages.push(new HumanMessage(text));
    const message = await model.invoke(messages);
    messages.push(message);
    turns.push(message.text);
  }
  const pieces = [];
  for await (const chunk of await model.stream(messages.slice(0, 1))) pieces.push(chunk.text);
  const error = await model.invoke([new HumanMessage(long)]).then(() => "", (error) => `${error.name}: ${error.message}`);
  return { turns, pieces, error };
}
