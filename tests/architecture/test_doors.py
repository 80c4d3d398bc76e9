"""One door per library: each third-party library is used in one place, and in no other."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("countline", "edge", "gateway", "cloud", "deploy")

# Library -> the files and folders that may import it. Each of them must: a door that nobody uses is walled up.
DOORS: dict[str, set[str]] = {
    # aiomqtt speaks in paho's types, so its door needs them too.
    "paho": {"edge/publish.py", "gateway/ingest.py"},
    "aiomqtt": {"gateway/ingest.py"},
    "cv2": {"edge/capture", "edge/detect/letterbox.py", "edge/preview.py"},
    "onnxruntime": {"edge/detect/run_onnxruntime.py"},
    "openvino": {"edge/detect/run_openvino.py"},
    "onnx": {"deploy/quantise.py"},
    "fastapi": {"cloud/api"},
    "uvicorn": {"cloud/api/server.py"},
    "httpx": {"cloud/api/preview.py"},
    "iotcore": {"deploy/broker.py"},
    "yaml": {"countline/config.py"},
}
# They may be imported further where the thing itself is checked or drawn on by the command, not on the counting path.
ALSO = {
    "cv2": {"edge/recount.py", "deploy/doctor.py"},
    "onnxruntime": {"deploy/quantise.py"},
    "fastapi": {"cloud/main.py"},
    "yaml": {"deploy/cli.py", "deploy/config.py"},
}
# Standard modules that only one file of the kernel may use; the rest asks it.
KERNEL_ONLY = {"random": {"countline/backoff.py"}}

FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Return the names of the top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _is_within(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


@pytest.mark.parametrize("library", DOORS)
def test_a_library_comes_in_by_its_door_only(library: str):
    """No other file imports it."""
    allowed = DOORS[library] | ALSO.get(library, set())
    trespassers = [
        _name(path) for path in FILES if library in _imports(path) and not _is_within(_name(path), allowed)
    ]
    assert not trespassers


@pytest.mark.parametrize(
    ("library", "door"), [(library, door) for library, doors in DOORS.items() for door in doors]
)
def test_a_door_that_is_named_here_is_there(library: str, door: str):
    """A door that has gone must be struck from the list, so that the list stays true."""
    assert any(library in _imports(path) for path in FILES if _is_within(_name(path), {door}))


@pytest.mark.parametrize("library", ["paho", "aiomqtt", "cv2", "onnxruntime", "openvino"])
def test_the_architecture_page_names_the_doors_of_what_the_agent_and_the_gateway_use(library: str):
    """A door that was moved is moved there too."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"one door per library \((.*?)\)\.\n", text, re.DOTALL)
    assert sorted(door for door in DOORS[library] if f"`{door}`" not in said) == []


@pytest.mark.parametrize("module", KERNEL_ONLY)
def test_a_standard_module_with_a_keeper_is_used_by_its_keeper_only(module: str):
    """Chance has one place."""
    users = {_name(path) for path in FILES if module in _imports(path)}
    assert users == KERNEL_ONLY[module]


def test_only_the_clock_asks_for_the_time():
    """`time.time` and its kin are called in one file; pyproject's banned names hold the rest."""
    asking = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"}
    found: set[str] = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_time = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "time"
            )
            if is_time and node.attr in asking:
                found.add(_name(path))
    assert found == {"countline/clock.py"}


def test_tests_and_models_are_no_packages():
    """An `__init__.py` there would shadow real packages."""
    assert not [
        _name(path) for folder in ("tests", "models") for path in (ROOT / folder).rglob("__init__.py")
    ]


def test_test_files_have_unique_names():
    """A name that stands twice is a puzzle in every report."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_rooms_are_empty_doorways():
    """An `__init__.py` holds a docstring and names it hands on; it builds nothing when imported."""
    for path in FILES:
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), _name(path)


# What opens, connects, starts or waits. None of it may happen because a module was imported.
_ALIVE = {
    "AsyncClient", "Broker", "Client", "Event", "FastAPI", "InferenceSession", "InfluxDBClient", "Lock", "Popen", "Process",
    "Server", "Thread", "ThreadPoolExecutor", "ThreadingHTTPServer", "Timer", "VideoCapture", "connect",
    "create_connection", "mkdir", "open", "read_bytes", "read_text", "run", "socket", "urlopen", "write_bytes", "write_text",
}  # fmt: skip


def _module_level_calls(tree: ast.Module) -> list[ast.Call]:
    """Return the calls in the module's own statements: not those in functions, classes, or `if __name__`."""
    calls: list[ast.Call] = []
    for statement in tree.body:
        if (
            isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr)
            and statement.value is not None
        ):
            calls += [node for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
    return calls


def test_importing_a_module_builds_no_client():
    """Importing starts nothing: no connection, no thread, no file."""
    found: list[str] = []
    for path in FILES:
        for call in _module_level_calls(ast.parse(path.read_text(encoding="utf-8"))):
            function = call.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "?")
            if name in _ALIVE:
                found.append(f"{_name(path)}:{call.lineno} {name}")
    assert not found


def test_every_room_can_be_imported():
    """The five packages are found as flat packages."""
    assert all(importlib.util.find_spec(room) for room in ROOMS)
