"""What contributors are told to run and to look at is there."""

from __future__ import annotations

import os
import re
import shlex
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.service.process import ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", GUIDE)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PATHS = [word for word in CODE if "/" in word and re.fullmatch(r"[\w./-]+\.(py|md)|[\w./-]+/", word)]


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_targets_of_make_that_are_named_exist() -> None:
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", GUIDE, re.MULTILINE))
    assert {"setup", "test", "lint", "accept"} <= set(chain.from_iterable(named)) - {""} <= TARGETS


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_the_files_that_are_named_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", GUIDE))
def test_links_lead_to_files(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_workflow_runs_what_every_change_must_pass_on_the_python_that_is_supported() -> None:
    (job,) = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert f'requires-python = ">={job["steps"][1]["with"]["python-version"]}"' in (ROOT / "pyproject.toml").read_text()


def test_hooks_run_the_pinned_tools_that_make_lint_runs() -> None:
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    tools = {Path(shlex.split(hook["entry"])[0]) for hook in repository["hooks"]}
    assert tools == {Path(".venv/bin/ruff"), Path(".venv/bin/mypy")}
    pins = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    assert all(re.search(rf"^{tool.name}==", pins, re.MULTILINE) for tool in tools)


@pytest.mark.parametrize("form", ["bug", "idea", "performance"])
def test_forms_for_issues_ask_for_something(form: str) -> None:
    content = read_yaml(f".github/ISSUE_TEMPLATE/{form}.yml")
    assert content.keys() == {"name", "description", "body"}
    ids = [field["id"] for field in content["body"]]
    assert len(set(ids)) == len(ids) > 0
