"""Simon Willison's llm, with the service as one of its extra models; its conversations keep the history."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.clients.talk import named, task, tell


def main() -> None:
    asked = task()
    with TemporaryDirectory() as folder:
        models = f'- model_id: chatbot\n  model_name: auto\n  api_base: "{asked.base_url}"\n'
        (Path(folder) / "extra-openai-models.yaml").write_text(models, encoding="utf-8")
        os.environ["LLM_USER_PATH"] = folder

        import llm

        model = llm.get_model("chatbot")
        conversation = model.conversation()
        turns = [conversation.prompt(text, stream=False).text() for text in asked.texts]
        pieces = list(model.prompt(asked.texts[0], stream=True))
        try:
            model.prompt(asked.long, stream=False).text()
        except Exception as error:
            tell(turns, pieces, named(error))


if __name__ == "__main__":
    main()
