"""What a number in a setting or in a publication's file may be, and how long a secret is at least."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MIN_SECRET = 32
MIN_TOKEN = 16
Port = Annotated[int, Field(ge=0, le=65535)]
# 100 years: more than anybody waits, and less than a date can hold
Seconds = Annotated[float, Field(gt=0, le=3_155_760_000)]
Hours = Annotated[float, Field(gt=0, le=876_600)]
Days = Annotated[int, Field(ge=1, le=36_500)]
# what a limiter and a database can count with, and nobody reaches
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Rate = Annotated[float, Field(gt=0, le=1_000_000_000)]
