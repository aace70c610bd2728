"""What goes in and out as JSON: requests are judged by these models, and the reference is made from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Code = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Search(BaseModel):
    """What a page of the world may be asked for."""

    q: str = Field("", max_length=100, description="Part of a name; accents and capitals do not matter.")


class Country(Row):
    """A country of ISO 3166-1."""

    alpha_2: str = Field(examples=["PT"])
    alpha_3: str = Field(examples=["PRT"])
    numeric: str = Field(examples=["620"])
    name: str = Field(examples=["Portugal"])
    official_name: str | None = Field(examples=["Portuguese Republic"])
    flag: str


class Subdivision(Row):
    """A district, state, province or the like, of ISO 3166-2."""

    code: str = Field(examples=["PT-11"])
    country: str = Field(examples=["PT"])
    type: str = Field(examples=["District"])
    name: str = Field(examples=["Lisboa"])
    parent: str | None = Field(description="The code of the subdivision that this one is part of.")


class Currency(Row):
    """A currency of ISO 4217."""

    alpha_3: str = Field(examples=["EUR"])
    numeric: str = Field(examples=["978"])
    name: str = Field(examples=["Euro"])


class Place(BaseModel):
    """A place in somebody's list."""

    model_config = ConfigDict(extra="forbid")

    code: Code = Field(description="A country or one of its subdivisions.", examples=["PT-11"])
    note: str = Field("", max_length=500)


class WantedList(BaseModel):
    """A list as its owner wants it."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    places: list[Place] = Field(default_factory=list, max_length=100)


class PlaceList(Row):
    """A list as it is kept."""

    id: str
    name: str
    places: list[Place]
    changed_at: float = Field(description="Seconds since 1970.")
