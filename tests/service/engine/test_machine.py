"""Cores and memory within control groups: real ones of the version that this machine has, and trees of files like those
of other machines and containers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from service.engine import machine
from tests.service.process import ROOT, ServiceProcess

V2_MOUNT = "24 18 0:21 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
HUGE = "9223372036854771712"

Plant = Callable[..., None]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Makes a file system of its own, with 8 cores and 64 GB free."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    memory = psutil.virtual_memory()._replace(available=64_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    def make(own: str, mounts: str, files: Mapping[str, str]) -> None:
        for name, content in {"proc/self/cgroup": own, "proc/self/mountinfo": mounts, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")

    return make


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("150000 100000", 2),
        ("40000 20000", 2),
        ("1600000 100000", 8),
        ("max 100000", 8),
        ("200000", 2),
        ("0 100000", 8),
        ("100000 0", 8),
        ("", 8),
        ("nonsense here", 8),
    ],
)
def test_a_quota_counts_rounded_up_and_nothing_else_is_one(plant: Plant, content: str, count: int) -> None:
    plant("0::/", V2_MOUNT, {"sys/fs/cgroup/cpu.max": content})
    assert machine.available_cores() == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("50000", 1), ("250000", 3), ("", 8)])
def test_a_quota_of_version_1_counts(plant: Plant, quota: str, count: int) -> None:
    plant(
        "3:cpu,cpuacct:/docker/abc\n0::/docker/abc",
        "36 31 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,relatime - cgroup cgroup rw,cpu,cpuacct",
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": quota,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert machine.available_cores() == count


def test_the_tightest_of_nested_groups_counts_and_is_named(plant: Plant, tmp_path: Path) -> None:
    plant(
        "0::/kubepods/pod7/main",
        V2_MOUNT,
        {
            "sys/fs/cgroup/kubepods/cpu.max": "600000 100000",
            "sys/fs/cgroup/kubepods/pod7/cpu.max": "150000 100000",
            "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/pod7/side/cpu.max": "10000 100000",
        },
    )
    found = machine.cores()
    assert found.count == 2
    assert found.reason == f"the control group {tmp_path}/sys/fs/cgroup/kubepods/pod7 allows 1.5 of the 8 cores"


@pytest.mark.parametrize("own", ["0::/../../elsewhere", "0::/gone", "0::/a:b"])
def test_of_a_group_that_cannot_be_seen_what_is_above_it_counts(plant: Plant, own: str) -> None:
    plant(own, V2_MOUNT, {"sys/fs/cgroup/cpu.max": "200000 100000"})
    assert machine.available_cores() == 2


def test_both_versions_side_by_side_count(plant: Plant) -> None:
    plant(
        "4:memory:/box\n1:cpu:/box\n0::/",
        "1 0 0:1 / /sys/fs/cgroup/my\\040cpu rw - cgroup cgroup rw,cpu\n"
        "2 0 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "3 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        {
            "sys/fs/cgroup/my cpu/box/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/my cpu/box/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "3000000000",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1000000000",
            "sys/fs/cgroup/unified/cpu.stat": "usage_usec 1",
        },
    )
    assert machine.available_cores() == 3
    assert machine.available_memory() == 2_000_000_000


@pytest.mark.parametrize(("own", "mounts"), [("", ""), ("nonsense", "nonsense"), ("0::/", "1 0 0:1 / /sys rw - sysfs")])
def test_without_groups_there_are_no_limits(plant: Plant, own: str, mounts: str) -> None:
    plant(own, mounts, {"sys/fs/cgroup/cpu.max": "100000 100000", "sys/fs/cgroup/memory.max": "1000"})
    assert machine.available_cores() == 8
    assert machine.available_memory() == 64_000_000_000


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"max": "10000000000", "current": "6000000000", "stat": "anon 1\ninactive_file 4500000000"}, 8_500_000_000),
        ({"max": "10000000000", "current": "6000000000"}, 4_000_000_000),
        ({"max": "10000000000"}, 10_000_000_000),
        ({"max": "1000", "current": "3000", "stat": "inactive_file 5"}, 0),
        ({"max": "1000", "current": "300", "stat": "inactive_file 4000"}, 1000),
        ({"max": "max", "current": "6000000000"}, 64_000_000_000),
        ({"max": "nonsense"}, 64_000_000_000),
    ],
)
def test_the_memory_limit_of_a_container_counts_and_its_file_cache_is_free(
    plant: Plant, files: dict[str, str], left: int
) -> None:
    plant("0::/", V2_MOUNT, {f"sys/fs/cgroup/memory.{name}": content for name, content in files.items()})
    assert machine.available_memory() == left


@pytest.mark.parametrize(
    ("limit", "left"), [("3000000000", 2_500_000_000), (HUGE, 64_000_000_000), ("-1", 64_000_000_000)]
)
def test_the_memory_limit_of_version_1_counts(plant: Plant, limit: str, left: int) -> None:
    group = "sys/fs/cgroup/memory"
    plant(
        "7:memory:/",
        f"1 0 0:1 / /{group} rw - cgroup cgroup rw,memory",
        {
            f"{group}/memory.limit_in_bytes": limit,
            f"{group}/memory.usage_in_bytes": "700000000",
            f"{group}/memory.stat": "inactive_file 7\ntotal_inactive_file 200000000",
        },
    )
    assert machine.available_memory() == left


def test_nested_memory_limits_count_each_with_its_own_use(plant: Plant) -> None:
    plant(
        "0::/pod/main",
        V2_MOUNT,
        {
            "sys/fs/cgroup/pod/memory.max": "4000",
            "sys/fs/cgroup/pod/memory.current": "3900",
            "sys/fs/cgroup/pod/main/memory.max": "2000",
            "sys/fs/cgroup/pod/main/memory.current": "100",
        },
    )
    assert machine.available_memory() == 100


Enter = Callable[[], None]


@pytest.fixture(scope="module")
def small_group() -> Iterator[Enter]:
    """A real control group of half a core and 2 GB; what is given puts the calling process into it."""
    name = f"chatbot-test-{os.getpid()}"
    with ExitStack() as made:
        try:
            folders = _version_1(name) or _version_2(name)
            for folder, limits in folders.items():
                folder.mkdir()
                made.callback(folder.rmdir)
                for file, value in limits.items():
                    (folder / file).write_text(value)
        except OSError as error:
            pytest.skip(f"control groups cannot be made here ({error.strerror})")

        def enter() -> None:
            for folder in folders:
                (folder / "cgroup.procs").write_text(str(os.getpid()))

        yield enter


def _version_1(name: str) -> dict[Path, dict[str, str]]:
    cpu, memory = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/memory")
    if not (cpu / "cpu.cfs_quota_us").exists() or not memory.exists():
        return {}
    quota = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    return {cpu / name: quota, memory / name: {"memory.limit_in_bytes": "2000000000"}}


def _version_2(name: str) -> dict[Path, dict[str, str]]:
    top = Path("/sys/fs/cgroup")
    (top / "cgroup.subtree_control").write_text("+cpu +memory")
    return {top / name: {"cpu.max": "50000 100000", "memory.max": "2000000000"}}


def test_half_a_core_and_two_gigabytes_are_one_thread_which_the_log_and_check_explain(
    small_group: Enter, tiny_export: Path
) -> None:
    asked = "from service.engine.machine import *; print(available_cores(), available_memory())"
    told = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, preexec_fn=small_group, capture_output=True, text=True, check=True
    )
    cores, memory = map(int, told.stdout.split())
    assert cores == 1
    assert 0 < memory <= 2_000_000_000
    sentence = "The model runs on 1 thread, since the control group /sys/fs/cgroup/"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "service",
        "--check",
        "--port",
        "0",
        "--store",
        "memory",
        "--model",
        tiny_export,
    ]
    checked = subprocess.run(
        command, cwd=ROOT, preexec_fn=small_group, capture_output=True, text=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert sentence in checked.stdout
    command += ["--threads", "2"]
    checked = subprocess.run(
        command, cwd=ROOT, preexec_fn=small_group, capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.stderr.startswith("warning: --threads 2 is more than the 1 core here (the control group ")
    with ServiceProcess("--model", tiny_export, "--threads", "0", preexec=small_group) as service:
        service.wait_ready()
        assert sentence in service.log
        assert service.curl("-d", '{"prompt": "Hello"}').status == 200
