"""Cores and memory by control groups, from files as the kernel's documentation shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bentos import limits


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_without_control_groups_the_affinity_counts(root: Path):
    assert limits.cores(root) == 8
    assert limits.memory_bytes(root) is None


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 1), ("20000 100000", 1), ("max 100000", 8)],
)
def test_version_2_says_a_quota_per_period(root: Path, quota: str, cores: int):
    write(root, "proc/self/cgroup", "0::/")
    write(root, "sys/fs/cgroup/cpu.max", quota)
    assert limits.cores(root) == cores


def test_the_tightest_group_above_counts(root: Path):
    write(root, "proc/self/cgroup", "0::/kubepods/pod1/c1")
    write(root, "sys/fs/cgroup/kubepods/cpu.max", "400000 100000")
    write(root, "sys/fs/cgroup/kubepods/pod1/cpu.max", "300000 100000")
    write(root, "sys/fs/cgroup/kubepods/pod1/c1/cpu.max", "max 100000")
    write(root, "sys/fs/cgroup/kubepods/pod1/memory.max", "1073741824")
    write(root, "sys/fs/cgroup/kubepods/pod1/c1/memory.max", "max")
    assert limits.cores(root) == 3
    assert limits.memory_bytes(root) == 2**30


def test_version_1_has_a_tree_per_controller(root: Path):
    write(root, "proc/self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000")  # the container sees its own as top
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912")
    assert limits.cores(root) == 2
    assert limits.memory_bytes(root) == 2**29
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", str(2**63 - 4096))
    assert limits.cores(root) == 8
    assert limits.memory_bytes(root) is None


@pytest.mark.parametrize(
    ("seen", "index", "own"),
    [("0,1", 0, "0"), ("0,1", 1, "1"), ("4,7", 2, "4"), ("3", 1, "3"), ("", 0, "")],
)
def test_a_worker_sees_its_own_gpu(
    monkeypatch: pytest.MonkeyPatch, seen: str, index: int, own: str
):
    monkeypatch.setenv(limits.VISIBLE, seen)
    limits.own_gpu(index)
    assert os.environ[limits.VISIBLE] == own
