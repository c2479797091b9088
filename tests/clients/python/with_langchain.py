"""LangChain's ChatOpenAI: messages of replies go back as its own objects."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from openai import BadRequestError

from tests.clients.talk import named, task, tell


def main() -> None:
    asked = task()
    model = ChatOpenAI(model="auto", base_url=asked.base_url, api_key="none", max_retries=0)
    messages: list[Any] = []
    turns = []
    for text in asked.texts:
        messages.append(HumanMessage(text))
        messages.append(model.invoke(messages))
        turns.append(messages[-1].content)
    pieces = [chunk.content for chunk in model.stream(messages[:1])]
    try:
        model.invoke([HumanMessage(asked.long)])
    except BadRequestError as error:
        tell(turns, pieces, named(error))


if __name__ == "__main__":
    main()
