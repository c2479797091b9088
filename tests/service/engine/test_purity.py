"""The engine knows token ids only: it runs where nothing is installed for text, HTTP or training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.service.process import ROOT

# Imports every module of the engine, writes a reply with it, and tells what that has brought into the process.
PROGRAM = """
import importlib, json, pkgutil, sys
from pathlib import Path
import service.engine

for module in pkgutil.walk_packages(service.engine.__path__, "service.engine."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from service.engine.chat_model import load
from service.engine.engine import Engine

engine = Engine(load(Path(sys.argv[1])), queue_size=1, max_rows=40)
reply = engine.submit([5, 9, 11, 2], timeout_s=60).wait(60).ids
engine.close()
print(json.dumps([reply, sorted({name.partition(".")[0] for name in sys.modules}), sorted(sys.modules)]))
"""
FOREIGN = {
    "torch",
    "transformers",
    "optimum",
    "flask",
    "werkzeug",
    "tokenizers",
    "huggingface_hub",
    "pydantic",
    "waitress",
}


def test_a_reply_is_written_without_torch_transformers_optimum_or_flask(tiny_export: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_export)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    reply, packages, modules = json.loads(ended.stdout)
    assert len(reply) > 2
    assert not FOREIGN & set(packages)
    own = {name for name in modules if name.startswith(("service.", "models.", "export.")) and name.count(".") == 1}
    assert own == {"service.engine", "models.folder"}
