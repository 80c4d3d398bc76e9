"""What is published beside the events, until the broker has it. For one thread.

Messages (of rules, answers) go in order and are sent again on the next connection if they may not have arrived. Retained
ones are all sent anew on each connection, because a broker may lose them. What an earlier run has left on topics that
are no longer ours is cleared; which topics those are is noted in the outbox.
"""

import json
from collections import deque
from collections.abc import Callable

from countline.errors import Unavailable
from countline.telemetry import Log
from edge.act.showcase import Showcase
from edge.outbox import Outbox
from edge.publish import Publisher, SideMessage

# Messages that wait for the broker; beyond that the oldest go.
MAX_MESSAGES = 100
_NOTE = "retained_topics"

_log = Log("edge.side_publisher")


class SidePublisher:
    """All that a device publishes beside its events."""

    def __init__(self, publisher: Publisher, outbox: Outbox, showcase: Showcase) -> None:
        """Take note of the topics that are ours from now on."""
        self._publisher = publisher
        self._outbox = outbox
        self._showcase = showcase
        self._messages: deque[SideMessage] = deque()
        self._under_way: deque[tuple[SideMessage, Callable[[], bool]]] = deque()
        self._retained: deque[SideMessage] = deque()
        self._clearing: list[Callable[[], bool]] = []
        self.dropped = 0
        ours = showcase.topics()
        noted: set[str] = set(json.loads(outbox.recall(_NOTE) or "[]"))
        self._stale = noted - ours
        self._note(noted | ours, noted)

    def put(self, message: SideMessage) -> None:
        """Have a message published; of too many that wait the oldest is dropped, and that is said."""
        if len(self._messages) >= MAX_MESSAGES:
            self._messages.popleft()
            self.dropped += 1
            _log.warning(
                "too many messages wait for the broker; the oldest was dropped", dropped=self.dropped
            )
        self._messages.append(message)

    def begin(self) -> None:
        """Begin anew on a new connection."""
        lost = [message for message, has_arrived in self._under_way if not has_arrived()]
        self._messages.extendleft(reversed(lost))
        self._under_way.clear()
        self._clearing.clear()
        self._retained = deque(SideMessage(topic, b"", 1, is_retained=True) for topic in sorted(self._stale))
        self._retained.extend(
            SideMessage(topic, payload, 1, is_retained=True)
            for topic, payload in self._showcase.fixed.items()
        )
        self._showcase.board.forget()

    def flush(self, now_ms: int) -> None:
        """Send what is due and what the connection takes. Never waits.

        Args:
            now_ms: On a clock that only goes forward.
        """
        while self._under_way and self._under_way[0][1]():
            self._under_way.popleft()
        while self._messages and (handle := self._publisher.offer(self._messages[0])):
            message = self._messages.popleft()
            if message.qos:
                self._under_way.append((message, handle))
        while self._retained and (handle := self._publisher.offer(self._retained[0])):
            if not self._retained.popleft().payload:
                self._clearing.append(handle)
        for topic, payload in self._showcase.board.due(now_ms):
            if self._publisher.offer(SideMessage(topic, payload, 0, is_retained=True)) is None:
                break
            self._showcase.board.sent(topic, payload, now_ms)
        if self._stale and len(self._clearing) == len(self._stale) and all(done() for done in self._clearing):
            self._stale = set()
            self._note(self._showcase.topics(), None)

    def _note(self, topics: set[str], noted: set[str] | None) -> None:
        if topics == noted:
            return
        try:
            self._outbox.remember(_NOTE, json.dumps(sorted(topics)))
        except Unavailable as error:
            _log.warning("which topics hold retained messages could not be noted", reason=error.what)
