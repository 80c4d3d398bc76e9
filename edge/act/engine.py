"""Decides when a rule fires and when it clears. Pure; time is an argument, in ms of any clock that only goes forward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.expression import Condition, Ref, evaluate, refs

Value = Callable[[Ref], float | None]


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One rule.

    Attributes:
        name: Unique within the device.
        when: Fires it.
        clear: Ends it; None is as soon as `when` does not hold.
        cooldown_ms: So long after it has fired it does not fire again.
    """

    name: str
    when: Condition
    clear: Condition | None = None
    cooldown_ms: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule has fired, or has cleared.

    Attributes:
        rule: Its place among the plans.
        is_on: True if it fired.
        values: What `when` asked for, as it was then; None for what was not known.
    """

    rule: int
    is_on: bool
    values: dict[str, float | None]


@dataclass(slots=True)
class _State:
    is_on: bool = False
    # Since when what would change it has held.
    holds_since_ms: int | None = None
    fired_at_ms: int | None = None


class Engine:
    """All rules of a device. What is unknown changes nothing: it neither fires a rule nor clears it."""

    def __init__(self, plans: Sequence[RulePlan]) -> None:
        """Begin with all rules clear."""
        self._plans = tuple(plans)
        self._states = [_State() for _ in plans]

    def tick(self, value: Value, now_ms: int) -> list[Verdict]:
        """Look at all rules; return those that have changed.

        Args:
            value: What is now.
            now_ms: Never less than the time before.
        """
        verdicts: list[Verdict] = []
        for index, (plan, state) in enumerate(zip(self._plans, self._states, strict=True)):
            if self._changes(plan, state, value, now_ms):
                state.is_on = not state.is_on
                state.holds_since_ms = None
                if state.is_on:
                    state.fired_at_ms = now_ms
                asked = {str(ref): value(ref) for ref in refs(plan.when.expression)}
                verdicts.append(Verdict(index, state.is_on, asked))
        return verdicts

    def is_on(self, rule: int) -> bool:
        """Say whether a rule has fired and has not cleared yet."""
        return self._states[rule].is_on

    @staticmethod
    def _changes(plan: RulePlan, state: _State, value: Value, now_ms: int) -> bool:
        condition = plan.when
        if state.is_on:
            condition = plan.clear or Condition(plan.when.expression)
        holds = evaluate(condition.expression, value)
        if state.is_on and plan.clear is None and holds is not None:
            holds = not holds
        if not holds:
            state.holds_since_ms = None
            return False
        if state.holds_since_ms is None:
            state.holds_since_ms = now_ms
        if now_ms - state.holds_since_ms < condition.for_ms:
            return False
        is_cooling = state.fired_at_ms is not None and now_ms - state.fired_at_ms < plan.cooldown_ms
        return state.is_on or not is_cooling
