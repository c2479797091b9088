"""Gradio's load_chat: serves its page, tells its address, and ends with stdin."""

from __future__ import annotations

import sys

import gradio

from tests.clients.talk import task


def main() -> None:
    page = gradio.load_chat(task().base_url, model="auto", token="none", file_types=None)
    _, address, _ = page.launch(prevent_thread_lock=True, show_error=True, quiet=True, share=False)
    print(f"\n{address}", flush=True)
    sys.stdin.read()
    page.close()


if __name__ == "__main__":
    main()
