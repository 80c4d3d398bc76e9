"""Settings of an edge agent: its cameras, what is drawn on their pictures, its detector, what it does by itself."""

from edge.config.agent import MAX_CAMERAS, EdgeSettings, PreviewSettings, check_names, places, zone_of
from edge.config.bounds import check_bounds, check_port_number
from edge.config.camera import CameraSettings, EvidenceSettings
from edge.config.detector import Backend, DetectorSettings, ModelLayout, Provider
from edge.config.shapes import (
    MAX_LINES,
    GateSettings,
    GroundSettings,
    HeatSettings,
    LineSettings,
    LinesFile,
    ZoneSettings,
    check_unique,
)
from edge.config.source import DETLOG, LIVE_KINDS, source_kind, source_path

__all__ = [
    "DETLOG",
    "LIVE_KINDS",
    "MAX_CAMERAS",
    "MAX_LINES",
    "Backend",
    "CameraSettings",
    "DetectorSettings",
    "EdgeSettings",
    "EvidenceSettings",
    "GateSettings",
    "GroundSettings",
    "HeatSettings",
    "LineSettings",
    "LinesFile",
    "ModelLayout",
    "PreviewSettings",
    "Provider",
    "ZoneSettings",
    "check_bounds",
    "check_names",
    "check_port_number",
    "check_unique",
    "places",
    "source_kind",
    "source_path",
    "zone_of",
]
