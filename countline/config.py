"""YAML and environment -> frozen, validated settings. The only reader of the environment.

A mistake is answered with one sentence: which file, line and key, what is wrong, what is allowed, and the nearest
known key. Every setting can be overridden by an environment variable: `COUNTLINE__API__PORT=8090` sets
`api.port`, `COUNTLINE__CAMERAS__0__SOURCE=/dev/video0` the first camera's source.
"""

import difflib
import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import yaml
from msgspec import Struct

from countline.errors import UsageError

T = TypeVar("T")

ENVIRONMENT_PREFIX = "COUNTLINE__"

_PATH_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+|\.\.\.)\]")
_UNKNOWN_KEY = re.compile(r"unknown field `(?P<key>[^`]*)`")
_AT_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_QUOTED = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a group of keys",
    "null": "nothing",
}

Path_ = tuple[str | int, ...]


class MqttSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach the MQTT broker.

    Attributes:
        host: Its name or address.
        port: Its TCP port; 1883 is usual, 8883 with TLS.
        tls: Encrypt, and check the broker's certificate. Needed for any host but this one.
        ca_file: Certificates to trust instead of the system's.
        cert_file: This client's certificate, for mutual TLS.
        key_file: Its private key.
        username: Empty to connect without.
        password: Better given as `COUNTLINE__MQTT__PASSWORD`.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        """Refuse what can't work or is not safe."""
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port {self.port} is not a TCP port, 1 to 65535 are allowed")
        if not self.tls and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is another machine: set tls: true, counts do not cross a network in the clear"
            )


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def environment(name: str) -> str | None:
    """Return an environment variable that is no setting, such as a cache folder, or None."""
    return os.environ.get(name)


def set_default_environment(name: str, value: str) -> None:
    """Set a variable that a library reads, unless a person has set it."""
    os.environ.setdefault(name, value)


def set_environment(name: str, value: str | None) -> None:
    """Set a variable that a library reads, or take it away."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def load(path: Path, into: type[T], environ: Mapping[str, str] | None = None) -> T:
    """Read a YAML file and the environment into a settings Struct.

    Args:
        path: The file.
        into: A msgspec Struct with `forbid_unknown_fields`.
        environ: Environment variables; the process's own by default.

    Raises:
        UsageError: The file cannot be read, is not YAML, or a setting is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"Cannot read the config {path}: {reason}.") from error
    return parse(text, into, str(path), os.environ if environ is None else environ)


def parse(text: str, into: type[T], source: str, environ: Mapping[str, str]) -> T:
    """Read YAML text and overrides into a settings Struct; see `load`.

    Args:
        text: YAML.
        into: The Struct type.
        source: What to call the text in messages, usually its path.
        environ: Environment variables to take overrides from.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(_yaml_message(source, error)) from error
    _check_keys(node, source)
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UsageError(
            f"{source}:1: the config must be a group of keys such as `cameras:`, not {type(values).__name__}."
        )
    overrides = _overrides(environ)
    tree = cast("dict[str, Any]", values)
    for name, (steps, value) in overrides.items():
        _set(tree, steps, value, name)
    try:
        return msgspec.convert(tree, into, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(_message(source, error, into, node, overrides)) from error


def schema(of: type[Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a settings Struct, with its documentation."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(of)}


def _yaml_message(source: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "unreadable"
    return f"{source}{line}: this is not valid YAML: {problem}."


def _check_keys(root: yaml.Node | None, source: str) -> None:
    """Refuse a key that stands twice in one group: YAML would silently take the last."""
    waiting, seen = [] if root is None else [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue  # an alias leads to a node that was looked at
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_group(node, source)
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _check_group(group: yaml.MappingNode, source: str) -> None:
    first: dict[str, int] = {}
    for key, _ in group.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        line = key.start_mark.line + 1
        if key.value in first:
            raise UsageError(
                f"{source}:{line}: the key `{key.value}` stands here again, first in line {first[key.value]}: keep one of the two."
            )
        first[key.value] = line


def _overrides(environ: Mapping[str, str]) -> dict[str, tuple[Path_, Any]]:
    found: dict[str, tuple[Path_, Any]] = {}
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            steps = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            found[name] = (
                tuple(int(step) if step.isdigit() else step for step in steps),
                _override_value(environ[name]),
            )
    return found


def _override_value(text: str) -> Any:
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if value is None else value


def _set(tree: dict[str, Any], steps: Path_, value: Any, name: str) -> None:
    here: Any = tree
    for step, following in itertools.pairwise(steps):
        if isinstance(here, dict):
            here = cast("dict[Any, Any]", here).setdefault(step, [] if isinstance(following, int) else {})
        elif isinstance(here, list) and isinstance(step, int) and step < len(cast("list[Any]", here)):
            here = cast("list[Any]", here)[step]
        else:
            raise UsageError(
                f"The environment variable {name} points at nothing: there is no `{step}` there."
            )
    last = steps[-1]
    if isinstance(here, dict) or (
        isinstance(here, list) and isinstance(last, int) and last < len(cast("list[Any]", here))
    ):
        cast("dict[Any, Any]", here)[last] = value
    else:
        raise UsageError(f"The environment variable {name} points at nothing: there is no `{last}` there.")


def _message(
    source: str,
    error: msgspec.ValidationError,
    into: type[Any],
    node: yaml.Node | None,
    overrides: Mapping[str, tuple[Path_, Any]],
) -> str:
    text = str(error)
    at = _AT_PATH.search(text)
    path = _steps(at["path"]) if at else ()
    problem = text[: at.start()] if at else text
    unknown = _UNKNOWN_KEY.search(problem)
    if unknown:
        path = (*path, unknown["key"])
        problem = _unknown_key_problem(unknown["key"], _keys_at(into, path[:-1]))
    problem = _QUOTED.sub(_plainly, problem)
    name = next((name for name, (steps, _) in overrides.items() if steps[: len(path)] == path), None)
    where = f"The environment variable {name}" if name else f"{source}:{_line(node, path)}"
    return f"{where}: {_dotted(path)}: {problem[:1].lower()}{problem[1:]}."


def _plainly(quoted: re.Match[str]) -> str:
    """Say a type, or one of some, in plain words; what else is quoted stays as it is."""
    kinds = quoted[1].split(" | ")
    return " or ".join(_WORDS[kind] for kind in kinds) if _WORDS.keys() >= set(kinds) else quoted[0]


def _unknown_key_problem(key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"there is no such key; {hint}Allowed here: {', '.join(allowed)}"


def _steps(path: str) -> Path_:
    steps: list[str | int] = []
    for name, index in _PATH_STEP.findall(path):
        steps.append(name or (int(index) if index.isdigit() else index))
    return tuple(steps)


def _dotted(path: Path_) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the config"


def _keys_at(into: type[Any], path: Path_) -> list[str]:
    """Return the keys that the Struct at `path` below `into` knows."""
    kind: msgspec.inspect.Type = msgspec.inspect.type_info(into)
    for step in path:
        kind = _inside(kind, step)
    kind = _struct_of(kind)
    return (
        [field.encode_name for field in kind.fields] if isinstance(kind, msgspec.inspect.StructType) else []
    )


def _struct_of(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((one for one in kind.types if isinstance(one, msgspec.inspect.StructType)), kind)
    return kind


def _inside(kind: msgspec.inspect.Type, step: str | int) -> msgspec.inspect.Type:
    kind = _struct_of(kind)
    if isinstance(kind, msgspec.inspect.StructType):
        return next((field.type for field in kind.fields if field.encode_name == step), kind)
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return kind.item_type
    if isinstance(kind, msgspec.inspect.DictType):
        return kind.value_type
    return kind


def _line(node: yaml.Node | None, path: Path_) -> int:
    """Return the line, from 1, of the deepest node of `path` that the text holds."""
    line = 1
    here = node
    for step in path:
        if isinstance(here, yaml.MappingNode):
            pair = next(((key, value) for key, value in here.value if key.value == str(step)), None)
            if pair is None:
                return line
            line, here = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(here, yaml.SequenceNode) and isinstance(step, int) and step < len(here.value):
            here = here.value[step]
            line = here.start_mark.line + 1
        else:
            return line
    return line
