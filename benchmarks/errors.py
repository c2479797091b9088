"""Everything that can stop a benchmark, each with one sentence for the user.

BenchmarkError           exit code 1
├── ArgumentError        exit code 2: arguments that do not fit together
├── OutputError          a folder or file exists, or cannot be written
├── InputError           a checkpoint or an exported folder that is not there or not usable
├── RivalError           a rival that cannot be installed, converted or loaded; a run goes on without it
├── BackendError         a backend refused a request or ended before its work was done
├── ServerError          a chat server that did not become ready, or cannot be started again after it ended
└── WorkloadError        a backend generated something else than was asked for
"""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark that cannot go on; the message is one sentence that says what is wrong."""

    exit_code = 1


class ArgumentError(BenchmarkError):
    exit_code = 2


class OutputError(BenchmarkError):
    pass


class InputError(BenchmarkError):
    pass


class RivalError(BenchmarkError):
    pass


class BackendError(BenchmarkError):
    pass


class ServerError(BenchmarkError):
    pass


class WorkloadError(BenchmarkError):
    pass
