"""An fp32 export of the demo model says what torch says; every export loads in the stock class."""

from __future__ import annotations

from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts
from tests.parity import compare

COUNT = 100


def check() -> list[Line]:
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    from models.folder import DEMO_CHECKPOINT

    lines = []
    for precision in ("none", "int8", "int4"):
        model = ORTModelForSeq2SeqLM.from_pretrained(folders.demo(precision))
        beams = model.generation_config.num_beams
        lines.append(Line(f"stock from_pretrained loads the {precision} export", f"num_beams {beams}", beams == 10))
    for beams in (10, 1):
        parity = compare(DEMO_CHECKPOINT, folders.demo("none"), prompts(COUNT), beams=beams, tell=print)
        lines.append(Line(f"fp32 export equals torch on {COUNT} prompts, beam {beams}", str(parity), parity.agrees))
    return lines
