"""What this machine offers to a detector: how many threads, and what processor."""

import math
import os
import platform
from pathlib import Path


def default_threads() -> int:
    """Return how many threads a detector gets by default: one per physical core that this process may use, at least one.

    A second thread on the same core only takes turns with the first. A container's share of the machine counts too.
    """
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return max(1, os.cpu_count() or 1)
    cores = {_siblings(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota()))


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what a measurement of speed depends on: the processor's name, and what it can calculate with."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".strip()
    facts = [line.partition(":") for line in lines[:64]]
    named = {key.strip().lower(): value.strip() for key, _, value in reversed(facts)}
    flags = set((named.get("flags") or named.get("features") or "").split())
    name = named.get("model name") or named.get("model") or platform.machine()
    return " ".join([name, *sorted(flags & _TELLING), f"x{default_threads()}"])


# What makes one number format faster than another.
_TELLING = frozenset(
    {
        "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "amx_tile",
        "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve",
    }
)  # fmt: skip


def _siblings(cpu: int) -> str:
    try:
        return (
            Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text("ascii").strip()
        )
    except OSError:
        return str(cpu)


def _quota() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        return 1 << 16
    return 1 << 16 if quota == "max" else math.ceil(int(quota) / int(period))
