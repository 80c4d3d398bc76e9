"""The supervisor with real child processes: order, restarts, stops, and nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from countline.errors import UsageError
from countline.service import Part, Stop, Supervisor

# A part that notes its start and its end in a file, and can be told to end in another way.
_CODE = """
import sys
from countline.service import Stop, read_settings_and_watch
journal, name, how = sys.argv[1:]
def note(text):
    with open(journal, "a") as file:
        file.write(f"{text} {name}\\n")
stop = Stop()
settings = read_settings_and_watch(stop)
note("start")
if how == "usage":
    sys.exit(2)
if how == "crash once" and open(journal).read().count(f"start {name}") == 1:
    sys.exit(1)
if how == "settings":
    note(settings.decode().strip())
stop.wait(30)
if how == "deaf":
    import time
    time.sleep(30)
note("end")
"""


def _part(journal: Path, name: str, how: str = "", *, drain_s: float = 5.0) -> Part:
    def is_ready() -> bool:
        return f"start {name}" in _read(journal)

    return Part(name, [sys.executable, "-c", _CODE, str(journal), name, how], b'{"a":1}', is_ready, drain_s)


def _read(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


async def _until(journal: Path, line: str, times: int = 1) -> None:
    async with asyncio.timeout(20):
        while _read(journal).count(line) < times:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)


async def test_parts_start_in_order_and_stop_in_theirs(tmp_path: Path):
    """Each starts when the one before is ready; the stop order is its own."""
    journal = tmp_path / "journal"
    stop = Stop()
    supervisor = Supervisor([_part(journal, "a"), _part(journal, "b", "settings")], stop)
    running = asyncio.create_task(supervisor.run(["a", "b"]))
    await _until(journal, "start b")
    await _until(journal, '{"a":1} b')
    stop.request()
    await running
    assert _read(journal) == ["start a", "start b", '{"a":1} b', "end a", "end b"]
    assert supervisor.restarts() == {"a": 0, "b": 0}


async def test_a_part_that_crashes_is_started_again(tmp_path: Path):
    """The others don't notice."""
    journal = tmp_path / "journal"
    stop = Stop()
    supervisor = Supervisor([_part(journal, "a"), _part(journal, "b", "crash once")], stop)
    running = asyncio.create_task(supervisor.run())
    await _until(journal, "start b", times=2)
    stop.request()
    await running
    assert supervisor.restarts() == {"a": 0, "b": 1}
    assert _read(journal).count("start a") == 1


async def test_a_part_that_needs_a_person_ends_all(tmp_path: Path):
    """A usage error is not retried: the supervisor stops the rest and says which part it was."""
    journal = tmp_path / "journal"
    supervisor = Supervisor([_part(journal, "a"), _part(journal, "b", "usage")], Stop())
    with pytest.raises(UsageError, match="b could not start"):
        await supervisor.run()
    assert _read(journal)[-1] == "end a"


async def test_a_part_that_never_gets_ready_ends_all(tmp_path: Path):
    """After the start time-out a person is told."""
    journal = tmp_path / "journal"
    never = Part("never", [sys.executable, "-c", "import sys; sys.stdin.read()"], ready=lambda: False)
    supervisor = Supervisor([_part(journal, "a"), never], Stop(), start_timeout_s=0.3)
    with pytest.raises(UsageError, match=r"a did not start within|never did not start within"):
        await supervisor.run()


async def test_a_part_that_does_not_listen_is_ended_by_a_signal(tmp_path: Path):
    """A stop ends even if a part hangs."""
    journal = tmp_path / "journal"
    stop = Stop()
    supervisor = Supervisor([_part(journal, "a", "deaf", drain_s=0.3)], stop)
    running = asyncio.create_task(supervisor.run())
    await _until(journal, "start a")
    stop.request()
    await running
    assert _read(journal) == ["start a"]


async def test_a_part_that_still_loads_ends_at_once(tmp_path: Path):
    """Nobody waits for its libraries, nor sends it a signal, and what comes after loading ends in its own good order."""
    journal = tmp_path / "journal"
    code = _CODE.replace("stop.wait(30)", "with stop.ends_process(): LOAD\nstop.wait(30)").replace(
        "LOAD", "__import__('time').sleep(30 if how == 'loads' else 0)"
    )
    parts = [
        Part(name, [sys.executable, "-c", code, str(journal), name, how], drain_s=20.0)
        for name, how in (("a", "loads"), ("b", ""))
    ]
    stop = Stop()
    running = asyncio.create_task(Supervisor(parts, stop).run())
    await _until(journal, "start a")
    await _until(journal, "start b")
    stop.request()
    await running
    assert "end a" not in _read(journal)
    assert "end b" in _read(journal)


async def test_no_part_survives_the_kill_of_its_supervisor(tmp_path: Path):
    """SIGKILL closes the lifeline, and each part ends in its own good order."""
    journal = tmp_path / "journal"
    code = (
        "import asyncio, sys\n"
        "from countline.service import Part, Stop, Supervisor\n"
        f"part = Part('a', [sys.executable, '-c', {_CODE!r}, {str(journal)!r}, 'a', ''])\n"
        "asyncio.run(Supervisor([part], Stop()).run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as supervisor:  # noqa: ASYNC220
        await _until(journal, "start a")
        os.kill(supervisor.pid, signal.SIGKILL)
    await _until(journal, "end a")


async def test_a_stop_wakes_threads_and_tasks_alike():
    """Whoever waits is woken once it is asked for; who comes later does not wait."""
    stop = Stop()
    woken = threading.Event()
    thread = threading.Thread(target=lambda: stop.wait() and woken.set())
    thread.start()
    waiting = asyncio.create_task(stop.wait_async())
    await asyncio.sleep(0)
    stop.request()
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(stop.wait_async(), 10)
    thread.join(10)
    assert woken.is_set()
    assert stop.is_requested()
