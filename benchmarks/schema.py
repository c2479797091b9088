"""One schema that reads and writes the result file of every measurement; files hold raw values."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmarks.environment import Machine
from benchmarks.errors import InputError
from benchmarks.figures import noise_text, quantile
from benchmarks.machine import Limits, StepWeights


class Record(BaseModel):
    """A part of a result file, or all of it: what it does not name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Missing(Record):
    """What could not be measured, and why."""

    name: str
    reason: str


class Measurement(Record):
    """What every result file holds; the date is when the run began, ISO 8601; `settings` are what was asked."""

    benchmark: str
    format: Literal[6] = 6
    date: str
    machine: Machine
    versions: dict[str, str]
    settings: dict[str, Any]
    missing: list[Missing] = []


class Sizes(Record):
    """A reply: beam width (1 is greedy), tokens of the source and of the reply (`</s>` included), threads."""

    beams: int
    source_tokens: int
    new_tokens: int
    threads: int

    def __str__(self) -> str:
        decoding = "greedy" if self.beams == 1 else f"beam {self.beams}"
        return f"{decoding}, {self.source_tokens} to {self.new_tokens} tokens, {self.threads} threads"


class Participant(Record):
    """Who took part: a contestant, or a server with the largest resident memory of its process.

    `versions` are of packages that differ from those of the whole measurement, `engine` is what else its figures depend
    on, and `settings_lacking` are settings of the checkpoint that it did not apply.
    """

    label: str
    name: str
    title: str
    versions: dict[str, str] = {}
    engine: dict[str, str] = {}
    other_model: str = ""
    precision: str = ""
    settings_lacking: list[str] = []
    peak_bytes: int | None = None

    @classmethod
    def of(cls, ready: Any, **facts: Any) -> Self:
        """Of a contestant or server that was made ready, and what else was found out."""
        return cls.model_validate(ready, from_attributes=True).model_copy(update=facts)


class Agreement(Record):
    """How many replies are the same token for token; where they part is no longer measured."""

    equal: int
    replies: int
    shared_tokens: float | None = None


class Timing(Record):
    """One contestant at one point: seconds of a reply and of its processor time, one value a round; bytes of memory.

    `same_as_torch` compares its replies; None where it runs another model, torch took no part, or nobody compared.
    Times and memory of loading are no longer measured.
    """

    label: str
    import_s: float | None = None
    load_s: float | None = None
    loaded_bytes: int | None = None
    peak_bytes: int | None = None
    seconds: list[float]
    cpu_s: list[float] = []
    same_as_torch: Agreement | None = None


class Pair(Record):
    """Ours beside itself: the noise of the rounds that are kept and of those that were too noisy, smallest first."""

    labels: tuple[str, str]
    noise: list[float]
    same: Agreement

    def __str__(self) -> str:
        return f"{noise_text(self.noise)}; {self.same.equal} of {self.same.replies} replies are the same."


class Race(Record):
    """All contestants with replies of one size."""

    sizes: Sizes
    a_a: Pair | None = None
    timings: list[Timing]


class Latency(Measurement):
    """Replies one at a time, with the limits of the machine."""

    benchmark: Literal["latency"] = "latency"
    limits: Limits
    step_weights: StepWeights
    contestants: list[Participant]
    results: list[Race]

    def floor_ms(self, label: str, beams: int) -> float | None:
        """The least milliseconds of a token; None where the precision of the weights says nothing."""
        precision = next((info.precision for info in self.contestants if info.label == label), "")
        return self.step_weights.floor_ms(precision, beams, self.limits) if precision else None


class Exchange(Record):
    """One request: when it was sent, in seconds after its run began, and from then to the end of the reply or failure.

    `tokens` and `prompt_tokens` are as the server counts them; `error` is the kind of failure, such as `HTTP 503`, with
    `detail` in words, "" for a reply that is as it should be.
    """

    start_s: float
    seconds: float
    tokens: int | None = None
    prompt_tokens: int | None = None
    status: int | None = None
    error: str = ""
    detail: str = ""


class Run(Record):
    """One server under one load in one round: all requests, in the order in which they were sent.

    `generator_cpu_s` are processor seconds that asking took on this side; `ended` is how the server ended during the
    run, "" when it did not.
    """

    round: int
    generator_cpu_s: float = 0.0
    ended: str = ""
    requests: list[Exchange]

    @property
    def replies(self) -> list[Exchange]:
        """The requests that got the reply they should."""
        return [exchange for exchange in self.requests if not exchange.error]

    @property
    def seconds(self) -> float:
        """From the beginning to the end of the last request; 0 when there was none."""
        return max((exchange.start_s + exchange.seconds for exchange in self.requests), default=0.0)

    @property
    def replies_per_s(self) -> float:
        return len(self.replies) / self.seconds if self.seconds else 0.0

    @property
    def errors(self) -> Counter[str]:
        """How many requests failed, by kind."""
        return Counter(exchange.error for exchange in self.requests if exchange.error)


class ServerRuns(Record):
    """All runs of one server under one load, a round each."""

    label: str
    runs: list[Run]

    @property
    def rates(self) -> list[float]:
        """Replies a second of each round."""
        return [run.replies_per_s for run in self.runs]

    @property
    def errors(self) -> Counter[str]:
        return sum((run.errors for run in self.runs), Counter())

    def seconds(self, share: float) -> float | None:
        """What `share` of the replies of all rounds together took less than, in seconds; None without a reply."""
        return quantile([reply.seconds for run in self.runs for reply in run.replies], share)


class LoadResult(Record):
    """All servers under one number of clients that each send the next request when the last reply has come.

    `noise` is that of `Pair`, empty without one.
    """

    clients: int
    noise: list[float] = []
    servers: list[ServerRuns]


class Load(Measurement):
    """Chat servers under load, over HTTP."""

    benchmark: Literal["load"] = "load"
    servers: list[Participant]
    results: list[LoadResult]


class Start(Record):
    """One start of a server: seconds until it says that it is ready and of its replies, resident memory in bytes."""

    ready_s: float
    first_reply_s: float
    later_reply_s: float
    ready_bytes: int
    peak_bytes: int


class Starts(Measurement):
    """Chat servers, by label, from the start of their process to their first replies."""

    benchmark: Literal["start"] = "start"
    results: dict[str, list[Start]]


class ExportCost(Record):
    """One export or conversion: seconds and largest memory of its processes, bytes of the files it wrote."""

    name: str
    title: str
    seconds: float
    peak_bytes: int
    size_bytes: int


class ExportCosts(Measurement):
    benchmark: Literal["export-cost"] = "export-cost"
    results: list[ExportCost]


class Fidelity(Record):
    """An exported folder beside its checkpoint, over the tokens of held-out replies.

    Divergence is that of Kullback and Leibler from the distribution of torch fp32, in nats, its mean and its 99th
    percentile; agreement the share of tokens where both rank the same token first. Of whole replies, `exact_match` is
    the share that is the same text; chrF is no longer measured.
    """

    exported: str
    tokens: int
    reference_perplexity: float
    perplexity: float
    mean_divergence: float
    worst_divergence: float
    top1_agreement: float
    replies: int = 0
    exact_match: float = 0.0
    chrf: float | None = None

    @property
    def perplexity_ratio(self) -> float:
        return self.perplexity / self.reference_perplexity


class Quality(Measurement):
    benchmark: Literal["quality"] = "quality"
    results: list[Fidelity]


class Archive(Measurement):
    """What was measured once, by code that is gone, as tables by name; lists are raw values behind the figures."""

    benchmark: Literal["archive"] = "archive"
    about: str
    tables: dict[str, list[dict[str, str | float | list[float]]]]


AnyMeasurement = Annotated[Latency | Load | Starts | ExportCosts | Quality | Archive, Field(discriminator="benchmark")]
ADAPTER: TypeAdapter[AnyMeasurement] = TypeAdapter(AnyMeasurement)


def read(path: Path) -> AnyMeasurement:
    """One result file; an `InputError` says what is wrong with it."""
    try:
        return ADAPTER.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"][1:])) or "it"
        raise InputError(f"{path} is no result of these benchmarks: {place}: {first['msg']}.") from error


def check_output(path: Path) -> None:
    """Find out before a long run whether its figures can be written; an `InputError` says why not."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; --output takes a file.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to write {path.name} to.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"The folder {path.parent} cannot be written to.")


def write(measurement: Measurement, path: Path) -> None:
    """Write a result file, whole or not at all; an `InputError` says why it cannot be written."""
    text = json.dumps(measurement.model_dump(mode="json"), indent=2) + "\n"
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            whole = Path(scratch) / path.name
            whole.write_text(text, encoding="utf-8")
            whole.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error
