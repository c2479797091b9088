"""`--never-say`: the file is checked at the start, and no reply holds what is in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from models import manifest
from models.folder import ModelFolderError
from service import check
from service.chat.never_say import read
from service.check import Kind
from service.errors import ConfigurationError
from service.http.app import create_app
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service import streams
from tests.service.never_said import holding
from tests.service.process import ROOT
from tests.service.visitor import ask

QUESTIONS = [f"Question {number}, what do you think of it?" for number in range(12)]
WRONG = {
    "empty": (b"", "holds no word"),
    "blank": (b" \n\t\n\n", "holds no word"),
    "punctuation": (b"hell\n\n ?!...\n", "Line 3 of"),
    "unseen": ("\u200b\u200b\n".encode(), "is not a word"),
    "latin-1": ("hell\ncaf\u00e9\n".encode("latin-1"), "Line 2 of"),
    "UTF-16": ("hell\n".encode("utf-16"), "is not UTF-8"),
    "UTF-16 without a mark": ("hell\n".encode("utf-16-le"), "control character"),
    "program": (b"\x7fELF\x02\x01\x01\x00", "control character"),
    "long line": (b"word " * 100, "200 at most"),
    "long list": (b"word\n" * 30_000, "more than 100,000 bytes"),
}


def write(folder: Path, content: bytes | str) -> Path:
    path = folder / "never-say.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_file_has_one_word_or_phrase_a_line(tmp_path: Path) -> None:
    content = "\ufeffhell\r\n  go to bed  \n\n#metoo\na$$\nhell\n🖕\nd\u00e9j\u00e0\tvu"
    assert read(write(tmp_path, content)) == ["hell", "go to bed", "#metoo", "a$$", "🖕", "déjà\tvu"]


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_list_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, said = WRONG[name]
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as refusal:
        read(path)
    message = str(refusal.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message
    (finding,) = check.never_say(ServiceConfig(never_say=path))
    assert finding == (Kind.PROBLEM, message)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Runtime(ServiceConfig(store="memory", never_say=path))


def test_what_is_no_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    unreadable = write(tmp_path, "hell")
    unreadable.chmod(0)
    refused = {tmp_path: "is a folder", tmp_path / "missing": "cannot be read", tmp_path / "pipe": "is not a file"}
    if os.geteuid():
        refused[unreadable] = "cannot be read"
    for path, said in refused.items():
        with pytest.raises(ConfigurationError, match=said):
            read(path)


def test_the_service_ends_with_one_sentence_and_check_says_the_same(short_export: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "?!\n")
    said: set[str] = set()
    for flags in ((), ("--check",)):
        command = [sys.executable, "-m", "service", "--port", "0", "--model", short_export, "--never-say", path, *flags]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        said.update(line for line in ended.stderr.splitlines() if line.startswith("error: "))
    (line,) = said
    assert line.startswith(f"error: Line 1 of {path}, '?!', is not a word")


def test_check_says_how_many_there_are(tmp_path: Path) -> None:
    config = ServiceConfig(never_say=write(tmp_path, "hell\ngo to bed"))
    (finding,) = check.never_say(config)
    assert finding == (Kind.FACT, f"Never says one of the 2 phrases in {config.never_say}.")
    assert not list(check.never_say(ServiceConfig()))


def test_a_model_whose_words_cannot_be_known_is_refused_by_check_and_by_the_service(
    short_export: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(short_export, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"decoder": {"type": "Fuse"}}))
    replace(manifest.read(folder), files=manifest.record_files(folder)).write(folder)
    config = ServiceConfig(store="memory", model=str(folder))
    assert not [finding for finding in check.model(config) if finding.kind is Kind.PROBLEM]
    listed = replace(config, never_say=write(tmp_path, "hell"))
    (finding,) = check.model(listed)
    assert finding.kind is Kind.PROBLEM
    with pytest.raises(ModelFolderError, match=re.escape(finding.sentence)):
        Runtime(listed).host.serve(folder, "")


def visitor(folder: Path, never_say: Path | None = None) -> FlaskClient:
    runtime = Runtime(ServiceConfig(store="memory", never_say=never_say, reply_cache=0))
    runtime.host.serve(folder, "")
    return create_app(runtime).test_client()


def said(client: FlaskClient, question: str) -> list[str]:
    """Replies to one question: plain, as a stream and all that is ever shown of it, drawn at random, cut by a stop."""
    texts = [ask(client, question).text]
    client.delete_cookie("session_id")
    read = streams.read(ask(client, question, stream=True).iter_encoded())
    client.delete_cookie("session_id")
    assert read.done is not None
    assert read.text == texts[0]
    texts += ["".join(read.deltas[: size + 1]) for size in range(len(read.deltas))]
    body = {"model": "auto", "messages": [{"role": "user", "content": question}]}
    for change in ({"temperature": 1, "seed": 3}, {"stop": ["e", "r"]}, {"max_tokens": 5}):
        response = client.post("/v1/chat/completions", json=body | change)
        assert response.json is not None
        texts.append(response.json["choices"][0]["message"]["content"])
    return texts


def test_no_reply_of_a_real_model_holds_what_is_listed_and_each_question_gets_one(
    short_export: Path, tmp_path: Path
) -> None:
    client = visitor(short_export)
    free = [text for question in QUESTIONS for text in said(client, question)]
    wanted = sorted({word for text in free for word in re.findall(r"[^\W_]+", text)})
    assert len(holding(wanted, free)) > len(free) / 2
    client = visitor(short_export, write(tmp_path, "\n".join(wanted)))
    kept = [said(client, question) for question in QUESTIONS]
    assert not holding(wanted, [text for texts in kept for text in texts])
    assert all(texts[0] for texts in kept)
