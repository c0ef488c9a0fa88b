"""Kinds of values that settings have, and how they are read from text: durations, prices, lists, numbers. It knows no
setting by name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = r"([0-9]+(?:\.[0-9]+)?)([dhms])"
_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DURATION = "a duration such as 90, 10s, 30m or 1h30m"


def parse_duration(value: object) -> float:
    """Seconds from 90, "90", "10s", "30m", "1h30m". Raises `ValueError`."""
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(_NUMBER, text):
            seconds = float(text)
        elif re.fullmatch(f"(?:{_PART})+", text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"expected {_DURATION}")
    return seconds


def without_password(text: str) -> str:
    """The text without what stands before "@" in the URLs in it."""
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", text)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as this number of seconds: "30m", "1h30m", "0.5s"."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n) or "0s"


def parse_price(text: str) -> tuple[float, float]:
    """US dollars per million input and output tokens, from "0.25,2". Raises `ValueError`."""
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 2 or not all(re.fullmatch(_NUMBER, number) for number in numbers):
        raise ValueError("expected two prices such as 0.25,2")
    return float(numbers[0]), float(numbers[1])


def _number(value: object) -> object:
    if isinstance(value, bool):
        # pydantic would read true as 1, and a limit of 1 is not what anybody meant by it.
        raise ValueError("expected a number")
    return value


def _words(value: object) -> object:
    """Lists come from variables as "a,b" or as a JSON array."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [word.strip() for word in value.split(",") if word.strip()]


def _price(text: str) -> str:
    parse_price(text)
    return text


def _place(value: object) -> object:
    if value == "":
        # An unset variable between quotes would otherwise mean the current directory.
        raise ValueError("expected a path")
    return value


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("expected an http or https URL")
    return text


Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Positive = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=0, le=65535)]
Threshold = Annotated[int, BeforeValidator(_number), Field(ge=2, le=1000)]
Amount = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(parse_duration)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Text = Annotated[str, Field(min_length=1)]
Place = Annotated[Path, BeforeValidator(_place)]
Url = Annotated[str, AfterValidator(_url)]
Price = Annotated[str, AfterValidator(_price)]
Share = Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)]
