"""What Home Assistant's MQTT discovery needs to show every line, zone and counter by itself. Pure.

One message per entity, at `<prefix>/sensor/<device>/<entity>/config`, with the keys that its MQTT sensor documents.
Counts that only rise until a reset are `total_increasing`, how many are inside is a `measurement`. An entity is
available while the device is online and, of lines and zones, while its camera sees.
"""

import json
import re
import zlib
from dataclasses import dataclass

from countline import __version__, topics
from edge.act.board import LiveTopics
from edge.config.local import Places

_ONLINE = "{{ 'online' if value_json.online else 'offline' }}"
_SEES = "{{ 'online' if value_json.state == 'ok' else 'offline' }}"


@dataclass(frozen=True, slots=True)
class _Entity:
    kind: str
    camera: str
    name: str
    key: str
    label: str
    icon: str
    topic: str
    is_total: bool


def discovery(prefix: str, live: LiveTopics, places: Places) -> dict[str, bytes]:
    """Return the retained messages, by topic.

    Args:
        prefix: Home Assistant's discovery prefix.
        live: Where the device says what it sees.
        places: Its lines, zones and counters.
    """
    node = f"countline_{_slug(live.site)}_{_slug(live.device)}_{_hash(live.site, live.device)}"
    return {
        f"{prefix}/sensor/{node}/{_id(entity)}/config": _config(entity, node, live)
        for entity in _entities(live, places)
    }


def _entities(live: LiveTopics, places: Places) -> list[_Entity]:
    found: list[_Entity] = []
    for camera, lines in places.lines.items():
        for line in lines:
            topic = live.line(camera, line)
            for key in ("in", "out"):
                icon = "mdi:location-enter" if key == "in" else "mdi:location-exit"
                found.append(
                    _Entity("line", camera, line, key, f"{camera} {line} {key}", icon, topic, is_total=True)
                )
    for camera, zones in places.zones.items():
        for zone in zones:
            topic = live.zone(camera, zone)
            found.append(
                _Entity(
                    "zone",
                    camera,
                    zone,
                    "count",
                    f"{camera} {zone}",
                    "mdi:account-group",
                    topic,
                    is_total=False,
                )
            )
    found += [
        _Entity("counter", "", name, "value", name, "mdi:counter", live.counter(name), is_total=False)
        for name in places.counters
    ]
    return found


def _config(entity: _Entity, node: str, live: LiveTopics) -> bytes:
    availability = [{"topic": topics.status(live.site, live.device), "value_template": _ONLINE}]
    if entity.camera:
        availability.append({"topic": live.camera(entity.camera), "value_template": _SEES})
    return json.dumps(
        {
            "name": entity.label,
            "unique_id": f"{node}_{_id(entity)}",
            "state_topic": entity.topic,
            "value_template": f"{{{{ value_json['{entity.key}'] }}}}",
            "state_class": "total_increasing" if entity.is_total else "measurement",
            "icon": entity.icon,
            "json_attributes_topic": entity.topic,
            "availability": availability,
            "availability_mode": "all",
            "device": {
                "identifiers": [node],
                "name": f"Countline {live.site} {live.device}",
                "manufacturer": "Countline",
                "model": "edge agent",
                "sw_version": __version__,
            },
            "origin": {"name": "Countline", "sw_version": __version__},
        }
    ).encode()


def _id(entity: _Entity) -> str:
    """Return an id of letters, digits, `_` and `-`, which is all that a discovery topic may hold; unlike names it is unique."""
    parts = [part for part in (entity.kind, entity.camera, entity.name, entity.key) if part]
    return f"{_slug('_'.join(parts))}_{_hash(*parts)}"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)


def _hash(*parts: str) -> str:
    return f"{zlib.crc32('/'.join(parts).encode()):08x}"
