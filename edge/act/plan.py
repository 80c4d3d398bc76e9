"""From settings to what counters and rules work with. Pure."""

from collections.abc import Sequence

from edge.act.engine import RulePlan
from edge.config import EdgeSettings, zone_of
from edge.config.local import Places, counter_lines, times
from edge.count.counters import CounterPlan, CountersPlan
from edge.expression import Compare, Condition, Expression, Joined, Ref, refs


def counters_plan(settings: EdgeSettings, places: Places) -> CountersPlan:
    """Return what to add up."""
    counters = tuple(
        CounterPlan(
            counter.name, counter_lines(counter, places), times(counter.reset), frozenset(counter.classes)
        )
        for counter in settings.counters
    )
    return CountersPlan(counters, times(settings.live.reset), zone_of(settings.timezone))


def rule_plans(settings: EdgeSettings, places: Places) -> list[RulePlan]:
    """Return the rules, each value with its camera."""
    plans: list[RulePlan] = []
    for number, rule in enumerate(settings.rules, start=1):
        when, clear = rule.conditions()
        plans.append(
            RulePlan(
                rule.name or f"rule{number}",
                _placed(when, places),
                _placed(clear, places) if clear else None,
                round(rule.cooldown_s * 1000),
            )
        )
    return plans


def asked(plans: Sequence[RulePlan]) -> list[Ref]:
    """Return all values that rules ask for."""
    conditions = [condition for plan in plans for condition in (plan.when, plan.clear) if condition]
    return [ref for condition in conditions for ref in refs(condition.expression)]


def _placed(condition: Condition, places: Places) -> Condition:
    return Condition(_place(condition.expression, places), condition.for_ms)


def _place(expression: Expression, places: Places) -> Expression:
    if isinstance(expression, Joined):
        return Joined(expression.is_all, tuple(_place(part, places) for part in expression.parts))
    ref = expression.ref
    camera, name = places.find(ref.kind, ref.camera, ref.name)
    return Compare(
        Ref(ref.kind, camera, name, ref.attribute, ref.window_ms, ref.at), expression.op, expression.number
    )
