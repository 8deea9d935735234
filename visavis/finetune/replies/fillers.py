"""Values for the slots of fact templates: numbers, prices, times, names, places. Random, so that a model must copy.

`fill` replaces every `{slot}` of a template; a slot keeps its value within one topic, so that a question speaks of the
thing that its fact speaks of. Lists of words lie in `words.yaml`; numbers are made here.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

from visavis import safe_yaml

__all__ = ["fill", "number_words", "slots_of", "words"]

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = ". . twenty thirty forty fifty sixty seventy eighty ninety".split()
_SLOT = re.compile(r"\{(\w+)\}")


@functools.cache
def words() -> dict[str, Any]:
    """The word lists: slot → values."""
    return safe_yaml.load((resources.files("visavis.finetune.replies") / "words.yaml").read_text("utf-8"))


def number_words(n: int) -> str:
    """0..999,999 in English words."""
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10] + (f"-{_ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{_ONES[n // 100]} hundred" + (f" and {number_words(n % 100)}" if n % 100 else "")
    rest = n % 1000
    return f"{number_words(n // 1000)} thousand" + (
        f" {'and ' if rest < 100 else ''}{number_words(rest)}" if rest else ""
    )


def _spoken(n: int, rng: random.Random) -> str:
    """Digits or words; large numbers are round when in words."""
    if rng.random() < 0.45 or n > 999_999:
        return f"{n:,}" if n >= 10_000 else str(n)
    return number_words(n)


def _count(low: int, high: int) -> Callable[[random.Random], str]:
    return lambda rng: _spoken(rng.randint(low, high), rng)


def _round(low: int, high: int, step: int) -> Callable[[random.Random], str]:
    return lambda rng: _spoken(rng.randrange(low, high, step), rng)


def _measure(units: str, low: int, high: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        about = rng.choice(["", "", "", "about ", "almost ", "a little over ", "nearly "])
        return f"{about}{_spoken(rng.randint(low, high), rng)} {rng.choice(units.split('|'))}"

    return make


def _price(low: int, high: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        whole = rng.randint(low, high)
        form = rng.random()
        if form < 0.2:
            return f"{rng.choice('€$£')}{whole}"
        if form < 0.35:
            return f"{whole}.{rng.choice(['50', '20', '90', '80'])} {rng.choice(['euros', 'pounds', 'dollars'])}"
        return f"{_spoken(whole, rng)} {rng.choice(['euros', 'euros', 'pounds', 'dollars', 'francs', 'crowns'])}"

    return make


def _hour(low: int, high: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        hour = rng.randint(low, high)
        twelve = (hour - 1) % 12 + 1
        form = rng.random()
        if form < 0.3:
            return f"{_ONES[twelve]} o'clock"
        if form < 0.45:
            return f"half past {_ONES[twelve]}"
        if form < 0.6:
            return f"{hour}:{rng.choice(['00', '15', '30', '45'])}"
        if form < 0.75:
            return f"{twelve} {'am' if hour < 12 else 'pm'}"
        return _ONES[twelve]

    return make


def _year(rng: random.Random) -> str:
    year = rng.randint(1480, 2019)
    if rng.random() < 0.3:
        head = number_words(year // 100)
        return f"{head} {number_words(year % 100)}" if year % 100 > 9 else str(year)
    return str(year)


def _syllables(rng: random.Random) -> str:
    """An invented name, so that no list of names can be learnt by heart."""
    onsets, vowels, ends = (
        "b br d dr f g gr h k kl l m n p r s st t tr v w z".split(),
        "a e i o u ai ea".split(),
        "l n r s th x m".split(),
    )
    word = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(rng.randint(1, 2))) + rng.choice(
        [*ends, "a", "o", "ia"]
    )
    return word.capitalize()


def _person(rng: random.Random) -> str:
    first = rng.choice(words()["first"])
    last = rng.choice(words()["last"]) if rng.random() < 0.7 else _syllables(rng)
    return first if rng.random() < 0.2 else f"{first} {last}"


def _place(rng: random.Random) -> str:
    return rng.choice(words()["city"]) if rng.random() < 0.7 else _syllables(rng)


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "n": _count(2, 60),
    "few": _count(2, 9),
    "many": _round(20, 900, 10),
    "lots": _round(1000, 90_000, 500),
    "price": _price(2, 95),
    "fee": _price(1, 20),
    "fortune": lambda rng: f"{_spoken(rng.randrange(200, 9000, 50), rng)} {rng.choice(['euros', 'pounds', 'dollars'])}",
    "length": _measure("metres|metres|feet", 2, 90),
    "small": _measure("centimetres|millimetres|inches|centimetres", 2, 60),
    "far": _measure("kilometres|miles|metres", 3, 400),
    "weight": _measure("kilos|kilograms|tons|pounds", 2, 900),
    "light": _measure("grams", 2, 600),
    "minutes": _measure("minutes", 2, 90),
    "span": _measure("minutes|hours|days|weeks", 2, 30),
    "hours": _measure("hours", 2, 40),
    "years": _measure("years", 2, 300),
    "speed": _measure("kilometres an hour|miles an hour", 5, 320),
    "degrees": lambda rng: f"{_spoken(rng.randint(2, 95), rng)} degrees",
    "open": _hour(6, 11),
    "close": _hour(15, 22),
    "clock": _hour(8, 21),
    "year": _year,
    "person": _person,
    "place": _place,
    "name": _syllables,
    "phone": lambda rng: " ".join(str(rng.randint(10, 99)) for _ in range(rng.randint(2, 3))),
    "room": lambda rng: f"room {_spoken(rng.randint(1, 80), rng)}",
    "percent": lambda rng: f"{_spoken(rng.randint(2, 95), rng)} percent",
    "code": lambda rng: f"{_syllables(rng).lower()}{rng.randint(10, 999)}",
}  # fmt: skip


def slots_of(template: str) -> list[str]:
    """Names of the slots in a template."""
    return _SLOT.findall(template)


def fill(template: str, values: dict[str, str], lists: dict[str, list[str]], rng: random.Random) -> str:
    """A template with its slots filled.

    `values` holds what is already settled and receives what is drawn; `lists` are the setting's own words and go
    before the general ones. A slot may end in a digit to draw a second value of the same kind: {place2}.
    """

    def value(match: re.Match[str]) -> str:
        slot = match[1]
        if slot not in values:
            kind = slot.rstrip("0123456789")
            if kind in lists:
                values[slot] = rng.choice(lists[kind])
            elif kind in MAKERS:
                values[slot] = MAKERS[kind](rng)
            else:
                values[slot] = rng.choice(words()[kind])
        return values[slot]

    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", _SLOT.sub(value, template))
