"""guidellm: conversations of three turns at a time, streamed and of a fixed length."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.clients.environments import interpreter

REQUESTS, TURNS, TOKENS = 6, 3, 8


def run(url: str, tokenizer: Path) -> dict[str, list[dict[str, Any]]]:
    """Let it measure a service.

    Args:
        url: of the service.
        tokenizer: folder that it takes its words from.

    Returns:
        The requests as its report has them: `successful`, `errored`, and those that it gave up as `incomplete`.
    """
    backend = f"kind=openai_http,target={url},model=auto,request_format=/v1/chat/completions"
    data = f"kind=synthetic_text,prompt_tokens=12,output_tokens={TOKENS},turns={TURNS}"
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = {
            "--backend": backend,
            "--data": data,
            "--profile": "kind=concurrent,streams=2",
            "--constraint": f"kind=max_requests,count={REQUESTS}",
            "--tokenizer": f"kind=huggingface_auto,model={tokenizer.resolve()}",
            "--output": f"kind=json,path={report}",
        }
        subprocess.run(
            [interpreter("guidellm").with_name("guidellm"), "run", "--disable-console", *sum(options.items(), ())],
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            timeout=300,
            check=True,
        )
        requests = json.loads(report.read_text(encoding="utf-8"))["benchmarks"][0]["requests"]
    return {outcome: requests[outcome] or [] for outcome in ("successful", "errored", "incomplete")}
