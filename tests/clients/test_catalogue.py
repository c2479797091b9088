"""What the documentation says of clients is what is tried."""

from __future__ import annotations

from tests.clients.catalogue import CLIENTS, table
from tests.clients.environments import HERE
from tests.export_child import ROOT

DOCUMENT = ROOT / "docs" / "clients.md"


def test_the_table_names_each_client_with_the_version_that_is_tried() -> None:
    assert table() in DOCUMENT.read_text(encoding="utf-8"), "print it with: python -m tests.clients.catalogue"


def test_each_client_has_a_program_that_tries_it_and_each_program_a_client() -> None:
    programs = {path.stem.removeprefix("with_") + path.suffix for path in HERE.glob("*/with_*")}
    named = {f"{client.name}.{'py' if 'Python' in client.runs_in else 'mjs'}" for client in CLIENTS if client.name}
    assert named - {"guidellm.py"} == programs
