"""LlamaIndex's OpenAILike in a chat engine, which keeps the history; its own temperature is 0.1."""

from __future__ import annotations

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.llms.openai_like import OpenAILike
from openai import BadRequestError

from tests.clients.talk import named, task, tell


def main() -> None:
    asked = task()
    model = OpenAILike(
        model="auto", api_base=asked.base_url, api_key="none", is_chat_model=True, temperature=0, max_retries=0
    )
    engine = SimpleChatEngine.from_defaults(llm=model)
    turns = [engine.chat(text).response for text in asked.texts]
    pieces = list(SimpleChatEngine.from_defaults(llm=model).stream_chat(asked.texts[0]).response_gen)
    try:
        SimpleChatEngine.from_defaults(llm=model).chat(asked.long)
    except BadRequestError as error:
        tell(turns, pieces, named(error))


if __name__ == "__main__":
    main()
