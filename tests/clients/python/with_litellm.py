"""LiteLLM: messages of replies go back as its own objects."""

from __future__ import annotations

from typing import Any

import litellm

from tests.clients.talk import named, task, tell


def main() -> None:
    asked = task()
    service = {"model": "openai/auto", "api_base": asked.base_url, "api_key": "none", "num_retries": 0}
    messages: list[Any] = []
    turns = []
    for text in asked.texts:
        messages.append({"role": "user", "content": text})
        message = litellm.completion(messages=messages, **service).choices[0].message
        messages.append(message)
        turns.append(message.content)
    chunks = litellm.completion(messages=messages[:1], stream=True, **service)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    try:
        litellm.completion(messages=[{"role": "user", "content": asked.long}], **service)
    except litellm.exceptions.BadRequestError as error:
        tell(turns, pieces, named(error))


if __name__ == "__main__":
    main()
