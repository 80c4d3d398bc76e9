"""The configuration page names every key that a config may hold."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.config import BoxSettings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
# What a person writes; the other tiers' settings are made from it.
ROOTS = (BoxSettings,)


def _structs(kind: msgspec.inspect.Type, seen: set[type]) -> Iterator[msgspec.inspect.StructType]:
    """Yield each Struct that is reachable from `kind`, once."""
    if isinstance(kind, msgspec.inspect.StructType):
        if kind.cls in seen:
            return
        seen.add(kind.cls)
        yield kind
        for field in kind.fields:
            yield from _structs(field.type, seen)
    for inner in ("item_type", "value_type"):
        if hasattr(kind, inner):
            yield from _structs(getattr(kind, inner), seen)
    for one in getattr(kind, "types", ()):
        yield from _structs(one, seen)


def _keys() -> list[str]:
    seen: set[type] = set()
    found = {
        field.encode_name
        for root in ROOTS
        for struct in _structs(msgspec.inspect.type_info(root), seen)
        for field in struct.fields
    }
    return sorted(found)


@pytest.mark.parametrize("key", _keys())
def test_the_configuration_page_names_the_key(key: str):
    """It stands there in code type."""
    assert f"`{key}`" in PAGE.read_text(encoding="utf-8")


def test_every_settings_struct_documents_its_keys():
    """Each key has a line under "Attributes" of its Struct, from which the schema and the page are made."""
    seen: set[type] = set()
    missing = [
        f"{struct.cls.__name__}.{field.name}"
        for root in ROOTS
        for struct in _structs(msgspec.inspect.type_info(root), seen)
        for field in struct.fields
        if f"{field.name}:" not in (struct.cls.__doc__ or "")
    ]
    assert not missing
