"""The clients that are tried, with the versions that their files pin, and the table of them in the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.clients.environments import PACKAGES, PINS
from tests.export_child import ROOT

Where = Literal["Python", "Node.js", "Firefox", "Chromium"]
PAGES: Sequence[Where] = ("Firefox", "Chromium")
OWN_PINS = ROOT / "requirements/dev.txt"


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        title: what people call it.
        name: of its files here; empty for the one that the everyday tests use.
        packages: those that make it, first its own.
        runs_in: where it is tried.
        tries: what is tried.
    """

    title: str
    name: str
    packages: Sequence[str]
    runs_in: Sequence[Where]
    tries: str = "three turns, a stream, an error"

    @property
    def versions(self) -> list[str]:
        """The packages with their versions."""
        return [f"{package} {self._version(package)}" for package in self.packages]

    def _version(self, package: str) -> str:
        if self.runs_in[0] == "Python":
            pins = PINS / f"{self.name}.txt" if self.name else OWN_PINS
            found = re.search(rf"^{re.escape(package)}==(\S+)$", pins.read_text(encoding="utf-8"), re.MULTILINE)
            assert found, f"{pins} does not pin {package}"
            return found[1]
        pinned = json.loads((PACKAGES / self.name / "package.json").read_text(encoding="utf-8"))
        return str(pinned["dependencies"][package])


CLIENTS: Sequence[Client] = (
    Client("OpenAI, Python", "", ["openai"], ["Python"], "every field, helpers, streams, errors, retries"),
    Client("OpenAI, JavaScript", "openai", ["openai"], ["Node.js", *PAGES]),
    Client("OpenAI Agents, JavaScript", "agents", ["@openai/agents"], ["Node.js"]),
    Client("AI SDK", "ai_sdk", ["ai", "@ai-sdk/openai-compatible"], ["Node.js", *PAGES]),
    Client("LangChain, Python", "langchain", ["langchain-openai"], ["Python"]),
    Client("LangChain, JavaScript", "langchain", ["@langchain/openai"], ["Node.js", *PAGES]),
    Client("LiteLLM", "litellm", ["litellm"], ["Python"]),
    Client("llm", "llm", ["llm"], ["Python"]),
    Client("LlamaIndex", "llama_index", ["llama-index-llms-openai-like"], ["Python"]),
    Client("Gradio, `load_chat`", "gradio", ["gradio"], ["Python"]),
    Client("guidellm", "guidellm", ["guidellm"], ["Python"], "conversations of three turns, streamed, of fixed length"),
)


def table() -> str:
    """The clients as a table in Markdown."""
    rows = [
        f"| {client.title} | {', '.join(client.versions)} | {', '.join(client.runs_in)} | {client.tries} |"
        for client in CLIENTS
    ]
    return "\n".join(["| client | version | runs in | passes |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    print(table())
