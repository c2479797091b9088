"""`/`: the chat page."""

from __future__ import annotations

from flask import Blueprint, render_template

from service.errors import NotReady
from service.http.operation import HTML, Operation, Reply, Text, describe
from service.serving.runtime import Runtime

# What the page's script imports, so that browsers ask for all of it at once.
SCRIPTS = (
    *("composer", "connection", "conversations", "elements", "events", "key", "log", "meter", "outbox", "service"),
    *("sidebar", "transcript"),
)
OPERATION = Operation("The chat page", Reply("A page.", {HTML: Text()}), is_open=True)


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to the model that the page names."""
    routes = Blueprint("page", __name__)

    @routes.get("/")
    @describe(OPERATION)
    def page() -> str:
        values = {"limit": runtime.config.max_prompt_chars, "scripts": SCRIPTS}
        try:
            model = runtime.host.model
        except NotReady:
            return render_template("index.html", name="", notice="", state=runtime.host.state, **values)
        return render_template("index.html", name=model.manifest.name, notice=model.notice, state="", **values)

    return routes
