"""The small language of local rules: `zone.queue.count > 8 and counter.shop.value >= 50 for 20s`. Pure, and nothing is executed.

::

    condition  = any ["for" DURATION]
    any        = all {"or" all}
    all        = one {"and" one}
    one        = "(" any ")" | value ("<" | "<=" | ">" | ">=" | "==" | "!=") NUMBER
    value      = "zone." NAME (".count" | ".dwell_max_s")
               | "line." NAME (".in" | ".out" | ".net") ["in" "the" "last" DURATION]
               | "counter." NAME (".value" | ".in" | ".out")
    NAME       = [CAMERA "/"] name, the camera where two cameras have one of that name
    DURATION   = NUMBER ("s" | "m" | "h")

A value may be unknown, because its camera is blind; then a condition that depends on it is unknown, neither true nor false.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "zone": ("count", "dwell_max_s"),
    "line": ("in", "out", "net"),
    "counter": ("value", "in", "out"),
}
MAX_CHARS = 500
MAX_DEPTH = 16
MAX_MS = 86_400_000
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_TOKEN = re.compile(
    r"\s*(?:(?P<op><=|>=|==|!=|<|>)|(?P<mark>[()])|(?P<number>-?\d+(?:\.\d+)?)(?P<unit>[A-Za-z]*)|(?P<word>[A-Za-z][\w./-]*))"
)


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that a rule asks for.

    Attributes:
        kind: "zone", "line" or "counter".
        camera: Whose it is; empty if it was not said.
        name: Of the zone, line or counter.
        attribute: One of `ATTRIBUTES[kind]`.
        window_ms: Of a line, only crossings of so long ago; 0 counts since its last reset.
        at: Where it stands in the text, from 1.
    """

    kind: str
    camera: str
    name: str
    attribute: str
    window_ms: int = 0
    at: int = 0

    def __str__(self) -> str:
        """Return it as it is written."""
        name = f"{self.camera}/{self.name}" if self.camera else self.name
        window = f" in the last {self.window_ms / 1000:g}s" if self.window_ms else ""
        return f"{self.kind}.{name}.{self.attribute}{window}"


@dataclass(frozen=True, slots=True)
class Compare:
    """A value against a number."""

    ref: Ref
    op: str
    number: float


@dataclass(frozen=True, slots=True)
class Joined:
    """Conditions of which all, or at least one, must hold."""

    is_all: bool
    parts: tuple["Expression", ...]


Expression = Compare | Joined


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold, and for how long."""

    expression: Expression
    for_ms: int = 0


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: One sentence: what is wrong, and at which character.
    """
    return _Parser(text).condition()


def parse_clear(text: str, when: Condition) -> Condition:
    """Read a condition that may leave out its value, as in `< 6 for 30s`; then it is the one that `when` asks for.

    Raises:
        ValueError: As `parse`, or `when` asks for several values.
    """
    if not re.match(r"\s*[<>=!]", text):
        return parse(text)
    asked = refs(when.expression)
    if len(asked) != 1:
        raise ValueError(f"{text!r} does not say of what: name the value, since `when` asks for several")
    return _Parser(text).short(asked[0])


def refs(expression: Expression) -> tuple[Ref, ...]:
    """Return the values that an expression asks for, in the order in which they stand."""
    if isinstance(expression, Compare):
        return (expression.ref,)
    return tuple(ref for part in expression.parts for ref in refs(part))


def evaluate(expression: Expression, value: Callable[[Ref], float | None]) -> bool | None:
    """Say whether an expression holds; None if that depends on a value that is unknown."""
    if isinstance(expression, Compare):
        number = value(expression.ref)
        return None if number is None else _COMPARE[expression.op](number, expression.number)
    results = [evaluate(part, value) for part in expression.parts]
    # One that is false decides "and", one that is true decides "or", whatever is unknown.
    decisive = not expression.is_all
    if decisive in results:
        return decisive
    return None if None in results else expression.is_all


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    unit: str = ""


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0

    def condition(self) -> Condition:
        expression = self._any()
        return self._with_duration(expression)

    def short(self, ref: Ref) -> Condition:
        return self._with_duration(self._compare(ref))

    def _with_duration(self, expression: Expression) -> Condition:
        for_ms = self._duration() if self._took("for") else 0
        if self._peek().kind != "end":
            raise self._wrong(
                "an `and`, an `or`, `for` with a duration such as 20s, or the end is expected here"
            )
        return Condition(expression, for_ms)

    def _any(self) -> Expression:
        return self._chain("or", self._all, is_all=False)

    def _all(self) -> Expression:
        return self._chain("and", self._one, is_all=True)

    def _chain(self, word: str, part: Callable[[], Expression], *, is_all: bool) -> Expression:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(is_all=is_all, parts=tuple(parts))

    def _one(self) -> Expression:
        if not self._took("("):
            return self._compare(self._ref())
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"brackets are nested deeper than {MAX_DEPTH}")
        inside = self._any()
        if not self._took(")"):
            raise self._wrong("a closing bracket is missing here")
        self._depth -= 1
        return inside

    def _compare(self, ref: Ref) -> Compare:
        op = self._peek()
        if op.kind != "op":
            raise self._wrong(f"a comparison is expected here, one of {' '.join(_COMPARE)}")
        self._next += 1
        number = self._peek()
        if number.kind != "number" or number.unit:
            raise self._wrong("a plain number is expected here")
        self._next += 1
        return Compare(ref, op.text, float(number.text))

    def _ref(self) -> Ref:
        token = self._peek()
        kind, _, rest = token.text.partition(".")
        path, _, attribute = rest.rpartition(".")
        if token.kind != "word" or kind not in ATTRIBUTES or not path:
            raise self._wrong(
                "a value is expected here, such as zone.NAME.count, line.NAME.in or counter.NAME.value"
            )
        if attribute not in ATTRIBUTES[kind]:
            raise self._wrong(f"a {kind} has no {attribute!r}, it has {', '.join(ATTRIBUTES[kind])}")
        camera, _, name = path.rpartition("/")
        if not name or "/" in camera or (camera and kind == "counter"):
            raise self._wrong(f"{path!r} is no name of a {kind}")
        self._next += 1
        return Ref(kind, camera, name, attribute, self._window(kind), token.at)

    def _window(self, kind: str) -> int:
        if not self._took("in"):
            return 0
        if not (self._took("the") and self._took("last")):
            raise self._wrong("`in` goes on with `the last` and a duration such as 5m")
        if kind != "line":
            self._next -= 3
            raise self._wrong("only of a line can it be said how many crossed in the last while")
        return self._duration()

    def _duration(self) -> int:
        token = self._peek()
        if token.kind != "number" or token.unit not in _UNIT_MS:
            raise self._wrong("a duration is expected here, such as 20s, 5m or 1h")
        length_ms = round(float(token.text) * _UNIT_MS[token.unit])
        if not 0 < length_ms <= MAX_MS:
            raise self._wrong("a duration is more than nothing and at most 24h")
        self._next += 1
        return length_ms

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _took(self, text: str) -> bool:
        if self._peek().kind in {"word", "mark"} and self._peek().text == text:
            self._next += 1
            return True
        return False

    def _split(self) -> list[_Token]:
        if len(self._text) > MAX_CHARS:
            raise ValueError(
                f"a condition of {len(self._text)} characters is too long, {MAX_CHARS} are allowed"
            )
        tokens: list[_Token] = []
        at = 0
        text = self._text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise ValueError(f"{self._text!r}: {text[at]!r} at character {at + 1} means nothing here")
            kind = match.lastgroup if match.lastgroup != "unit" else "number"
            assert kind is not None
            tokens.append(_Token(kind, match[kind], match.start(kind) + 1, match["unit"] or ""))
            at = match.end()
        return [*tokens, _Token("end", "", len(text) + 1)]

    def _wrong(self, problem: str) -> ValueError:
        return ValueError(f"{self._text!r}: at character {self._peek().at}: {problem}")
