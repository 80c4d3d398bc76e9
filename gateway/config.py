"""Settings of a gateway."""

from msgspec import Struct

from countline.codec import MAX_MESSAGE_BYTES
from countline.config import MqttSettings
from countline.events import Name


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway's durable journal.

    Attributes:
        retention_hours: Entries that all readers have passed are kept this long.
        dead_letter_days: Rejected messages are kept this long.
        survive_power_cut: Sync every commit to the disk before it is confirmed; false is safe against crashes only.
    """

    retention_hours: float = 72.0
    dead_letter_days: float = 30.0
    survive_power_cut: bool = True


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a gateway needs.

    Attributes:
        name: This gateway's, unique at its broker.
        data_dir: Where its journal lives.
        mqtt: Where it listens.
        journal: How it keeps what it has admitted.
        max_message_bytes: Larger MQTT messages are dead-lettered unread.
        max_devices: More devices than this are not admitted.
    """

    data_dir: str
    name: Name = "gateway"
    mqtt: MqttSettings = MqttSettings()
    journal: JournalSettings = JournalSettings()
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_devices: int = 10_000
