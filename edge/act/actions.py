"""Does what rules ask for when they fire and when they clear. Nothing here waits."""

from collections.abc import Callable, Sequence
from typing import Any

from countline.telemetry import Log
from edge.act.engine import RulePlan, Verdict
from edge.act.gpio import Gpio
from edge.act.worker import Job, Worker, body, send, start
from edge.config.local import ActionSettings, MqttAction, RuleSettings

Say = Callable[[MqttAction, bytes], None]
"""Publishes a message: how, and what has happened."""

_log = Log("edge.act")


class Actions:
    """The actions of all rules."""

    def __init__(
        self, rules: Sequence[RuleSettings], plans: Sequence[RulePlan], say: Say, gpio_library: Any = None
    ) -> None:
        """Take hold of what they need.

        Args:
            rules: What to do.
            plans: Of the same rules, in the same order.
            say: For those that publish.
            gpio_library: For tests; None takes the installed one, if a rule switches an output.

        Raises:
            UsageError: A rule switches an output that cannot be had.
        """
        self._rules = rules
        self._plans = plans
        self._say = say
        every = [action for rule in rules for action in (*rule.then, *rule.on_clear)]
        self._gpio = Gpio([action.gpio for action in every if action.gpio], gpio_library)
        self._http = Worker("http", send) if any(action.http for action in every) else None
        self._command = Worker("command", start) if any(action.command for action in every) else None

    def do(self, verdict: Verdict, at_ms: int, now_s: float) -> None:
        """Do what a rule asks for.

        Args:
            verdict: It has fired, or has cleared.
            at_ms: When, UTC epoch ms.
            now_s: The same on the clock of `tick`.
        """
        rule, name = self._rules[verdict.rule], self._plans[verdict.rule].name
        _log.info("a rule has fired" if verdict.is_on else "a rule has cleared", rule=name, **verdict.values)
        told = body(name, is_on=verdict.is_on, at_ms=at_ms, when=rule.when, values=verdict.values)
        if not verdict.is_on:
            for action in rule.then:
                if action.gpio:
                    self._gpio.switch(action.gpio, is_on=False, now_s=now_s)
        for action in rule.then if verdict.is_on else rule.on_clear:
            self._one(action, name, told, now_s)

    def tick(self, now_s: float) -> None:
        """End the pulses that are over."""
        self._gpio.tick(now_s)

    def next_tick_s(self) -> float | None:
        """Return when the next pulse is over, on the clock of `tick`."""
        return self._gpio.next_tick_s()

    def close(self) -> None:
        """Stop, and switch all outputs off."""
        for worker in (self._http, self._command):
            if worker:
                worker.close()
        self._gpio.close()

    def _one(self, action: ActionSettings, rule: str, told: bytes, now_s: float) -> None:
        if action.mqtt:
            self._say(action.mqtt, told)
        elif action.gpio:
            self._gpio.switch(action.gpio, is_on=True, now_s=now_s)
        elif action.http and self._http:
            self._http.put(Job(rule, told, http=action.http))
        elif self._command:
            self._command.put(Job(rule, told, command=tuple(action.command), timeout_s=action.timeout_s))
