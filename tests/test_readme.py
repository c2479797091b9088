"""What README and docs show works as it stands there, against a service on the demo model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from deploy.config import OPTIONS
from service import settings
from tests.page.visit import launch
from tests.service.process import ROOT, ServiceProcess

PAGES = {page: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:5000"
FOLDER = "models/blenderbot-400M-distill-int8"
# What sets up, exports or needs Docker is tested elsewhere.
OTHERS = re.compile(r"\$ (make|python -m export|docker|serve) ")


def blocks(language: str) -> list[str]:
    """The blocks of a language on all pages, without their indent; the same block on two pages once."""
    every = [block for text in PAGES.values() for block in BLOCK.findall(text)]
    blocks = [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, name, text in every if name == language]
    return list(dict.fromkeys(blocks))


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, shown.strip()) for command, _, shown in (part.partition("\n") for part in parts)]


def as_pattern(shown: str) -> str:
    """Output in which three dots stand for anything."""
    return ".*".join(map(re.escape, shown.split("...")))


@pytest.fixture(scope="module")
def service(demo_export: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess("--model", demo_export) as process:
        yield process.wait_ready()


@pytest.fixture
def address(service: ServiceProcess) -> str:
    return service.url.removeprefix("http://")


CONSOLE = [block for block in blocks("console") if "$ curl" in block]


@pytest.mark.parametrize("block", CONSOLE, ids=range(len(CONSOLE)))
def test_console_examples_print_what_is_shown(block: str, address: str, tmp_path: Path) -> None:
    for command, shown in commands(block):
        if OTHERS.match(f"$ {command} "):
            continue
        command = command.replace(ADDRESS, address).replace("curl ", "curl --silent --show-error --fail ", 1)
        ended = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
        assert re.fullmatch(as_pattern(shown), ended.stdout.strip(), re.DOTALL), (command, ended.stdout)


PYTHON = blocks("python")


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_python_examples_run(block: str, address: str, demo_export: Path) -> None:
    program = block.replace(ADDRESS, address).replace(FOLDER, str(demo_export))
    command = [sys.executable, "-W", "ignore", "-c", program]
    # A proxy that is set and cannot be reached; OpenAI's client goes through it unless it is told not to.
    proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    environment = {**os.environ, **({"no_proxy": "127.0.0.1"} if "openai" in block else {}), **proxies}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout or "print(" not in block


def test_the_javascript_example_runs_in_a_browser(address: str) -> None:
    (block,) = blocks("js")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"http://{address}/docs")
        page.evaluate(f"(async () => {{ {block.replace(ADDRESS, address)} }})()")
        browser.close()
    assert any("I am doing well" in text for text in said)


def test_the_table_of_settings_has_each_flag_with_its_default() -> None:
    pages = "".join(PAGES[ROOT / "docs" / name] for name in ("settings.md", "deployment.md"))
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| ([^|]*) \|", pages, re.MULTILINE))
    assert rows == {option.flag: option.shown_default for option in OPTIONS.values()}


def test_the_page_of_settings_is_what_the_settings_say() -> None:
    assert PAGES[ROOT / "docs" / "settings.md"] == settings.page(), "make docs writes it anew"


def test_what_the_examples_need_is_there() -> None:
    assert shutil.which("curl")
    assert len(CONSOLE) >= 3
    assert len(PYTHON) >= 4


LINKED = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "models/demo/README.md"]
LINKS = [
    (page, target) for page in LINKED for target in re.findall(r"\]\(([^)]+?)\)", page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda value: value if isinstance(value, str) else value.stem)
def test_links_lead_to_files_and_headings(page: Path, target: str) -> None:
    if target.startswith("http"):
        return
    path, _, heading = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    assert linked.exists()
    if heading:
        titles = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_first_screen_of_the_readme_starts_the_service_and_talks_to_it() -> None:
    lines = PAGES[ROOT / "README.md"].splitlines()
    assert len(lines) <= 160
    commands = [line for line in lines[:20] if line.startswith("$ ")]
    assert commands[0] == "$ make serve"
    assert commands[1].startswith("$ curl ")
