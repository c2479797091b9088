"""Fixtures of the service's tests: small exported models with short or long replies, and applications around them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models import manifest
from service.chat.chatbot import Chatbot
from service.chat.prompt import PromptFormat
from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service.fakes import FakeEngine
from tests.shared import SharedFolders

SHORT_REPLIES = {"num_beams": 2, "min_length": 3, "max_length": 12}
LONG_REPLIES = {"num_beams": 10, "min_length": 120, "max_length": 127}

Application = Callable[..., Flask]


@pytest.fixture(scope="session")
def short_export(shared: SharedFolders, tiny_export: Path) -> Path:
    """An exported model whose replies take a moment."""
    return shared.folder("short/tiny", lambda folder: with_generation(tiny_export, folder, SHORT_REPLIES))


@pytest.fixture(scope="session")
def long_export(shared: SharedFolders, tiny_export: Path) -> Path:
    """An exported model whose replies take a second or more."""
    return shared.folder("long/tiny", lambda folder: with_generation(tiny_export, folder, LONG_REPLIES))


@pytest.fixture(scope="session")
def tokenizer(tiny_checkpoint: Path) -> PreTrainedTokenizerFast:
    """The checkpoint's tokenizer as it comes, the reference for what the model should read."""
    return AutoTokenizer.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="session")
def prompt_format(tiny_checkpoint: Path) -> PromptFormat:
    return PromptFormat(AutoTokenizer.from_pretrained(tiny_checkpoint), window=128)


@pytest.fixture(scope="session")
def served(short_export: Path) -> ServedModel:
    """The real model, ready to answer."""
    runtime = Runtime(ServiceConfig(store="memory"))
    runtime.host.serve(short_export, "")
    return runtime.host.model


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    yield engine
    engine.gate.set()
    engine.close()


@pytest.fixture
def faked(served: ServedModel, engine: FakeEngine, prompt_format: PromptFormat) -> ServedModel:
    """The served model with the fake engine in place of the real one."""
    return dataclasses.replace(served, chatbot=Chatbot(engine, prompt_format))


@pytest.fixture
def application(served: ServedModel) -> Application:
    """Makes an application with the settings given, around the real model when none is named."""

    def make(model: ServedModel | None = served, **settings: Any) -> Flask:
        return create_app(Runtime(ServiceConfig(**{"store": "memory"} | settings), model))

    return make


@pytest.fixture
def app(application: Application, faked: ServedModel) -> Flask:
    """The application with a model of which only the engine is a fake."""
    return application(faked)


@pytest.fixture
def client(application: Application) -> FlaskClient:
    """A visitor with a cookie jar."""
    return application().test_client()


def with_generation(source: Path, folder: Path, settings: dict[str, int]) -> None:
    shutil.copytree(source, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    sealed = dataclasses.replace(manifest.read(source), files=manifest.record_files(folder))
    sealed.write(folder)
