"""Writes docs/configuration.md from the settings themselves, so that the page cannot lag behind the code.

python -m tools.settings_page          write the page
python -m tools.settings_page --check  fail if it is not up to date
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from deploy.config import BoxSettings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

_HEAD = """# Configuration

<!-- Written by `python -m tools.settings_page` from the settings' own documentation: change it there. -->

One YAML file configures everything; every key has a default except a camera's `name` and `source`. The smallest one:

```yaml
cameras:
  - name: entrance
    source: rtsp://user:password@192.168.1.20/stream2
    lines:
      - name: door
        points: [[0.5, 0.0], [0.5, 1.0]]   # fractions of the picture, or pixels
        sides: [street, shop]
```

- `countline up --config countline.yaml` runs it. `countline config check FILE` says what is wrong with a file, with its line and
  the nearest known key; `config show` prints what is in effect with secrets hidden; `config schema` prints a JSON Schema for an editor;
  `config example` prints a file to start from.
- Every key can be overridden by an environment variable: `COUNTLINE__API__PORT=8090` sets `api.port`,
  `COUNTLINE__CAMERAS__0__SOURCE=/dev/video0` the first camera's source. Secrets belong there.
- A line runs from its first point A to its last point B. For someone who walks from A to B, as seen on the picture, **in** is from the
  left hand to the right hand and **out** the other way; `swap: true` exchanges them; `sides` names what lies on the left and on the right.
- Unknown keys are refused: a typo fails at start and not in silence.
"""


def main() -> None:
    """Write the page, or check it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.name} is not up to date: run python -m tools.settings_page")


def page() -> str:
    """Return the whole page."""
    sections: list[str] = []
    seen: set[type[Struct]] = set()
    _describe(BoxSettings, "", sections, seen)
    return _HEAD + "".join(sections)


def _describe(kind: type[Struct], where: str, sections: list[str], seen: set[type[Struct]]) -> None:
    """Add the section of one group of keys, then those of the groups within it."""
    if kind in seen:
        return
    seen.add(kind)
    summary, about = _docs(kind)
    rows = []
    inner: list[tuple[type[Struct], str]] = []
    for field in msgspec.structs.fields(kind):
        path = f"{where}{field.encode_name}"
        struct, is_list = _struct_in(field.type)
        if struct:
            inner.append((struct, f"{path}{'[]' if is_list else ''}."))
        rows.append(f"| `{field.encode_name}` | {_default(field, struct)} | {about.get(field.name, '')} |\n")
    title = f"`{where.rstrip('.')}`" if where else "Top level"
    sections.append(
        f"\n## {title}\n\n{summary}\n\n| key | default | meaning |\n| --- | --- | --- |\n{''.join(rows)}"
    )
    for struct, path in inner:
        _describe(struct, path, sections, seen)


def _docs(kind: type[Struct]) -> tuple[str, dict[str, str]]:
    """Return a Struct's summary, and what its docstring says about each attribute."""
    text = inspect.cleandoc(kind.__doc__ or "")
    head, _, attributes = text.partition("Attributes:\n")
    about: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        match = re.match(r"    (\w+): (.*)", line)
        if match:
            name, about[match[1]] = match[1], match[2]
        elif name:
            about[name] += f" {line.strip()}"
    return " ".join(head.split()), about


def _struct_in(annotation: Any) -> tuple[type[Struct] | None, bool]:
    """Return the Struct that an annotation holds, directly or in a list."""
    info = msgspec.inspect.type_info(annotation)
    if isinstance(info, msgspec.inspect.UnionType):  # a group of keys that may be left out
        info = next((one for one in info.types if isinstance(one, msgspec.inspect.StructType)), info)
    if isinstance(info, msgspec.inspect.UnionType):  # one that may be missing
        info = next((one for one in info.types if isinstance(one, msgspec.inspect.StructType)), info)
    if isinstance(info, msgspec.inspect.ListType):
        inner = info.item_type
        return (inner.cls, True) if isinstance(inner, msgspec.inspect.StructType) else (None, True)
    return (info.cls, False) if isinstance(info, msgspec.inspect.StructType) else (None, False)


def _default(field: msgspec.structs.FieldInfo, struct: type[Struct] | None) -> str:
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return "required"
    if struct and field.default is not None:
        return "see below"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    main()
