"""What goes in and out as JSON: requests are judged by these models, and the reference is made from them."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from valetkey.api_helpers import Problem

LARGEST_PAGE = 250
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Paged(BaseModel):
    """Which page is wanted; the `Link` header of a page names the one before and the one after."""

    limit: int = Field(50, ge=1, le=LARGEST_PAGE, description="The most that the page may have.")
    cursor: str | None = Field(None, description="Where the page begins, as a `Link` header says it.")


class Chosen(BaseModel):
    """Which of its members are wanted."""

    fields: str | None = Field(None, description="The members to answer, separated by commas; all where left out.")


class Search(Chosen, Paged):
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


class Countries(BaseModel):
    """A page of countries."""

    items: list[Country]


class Subdivisions(BaseModel):
    """A page of subdivisions."""

    items: list[Subdivision]


class Currencies(BaseModel):
    """A page of currencies."""

    items: list[Currency]


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


class Condition(BaseModel):
    """Which state of a list a change is meant for."""

    if_match: str = Field(alias="If-Match", description="The `ETag` of the list as you read it.", examples=['"3f"'])


class PlaceList(Row):
    """A list as it is kept."""

    id: str
    name: str
    places: list[Place]
    changed_at: float = Field(description="Seconds since 1970.")


class PlaceLists(BaseModel):
    """A page of somebody's lists."""

    items: list[PlaceList]


Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], given: object) -> Shape:
    """What a caller sent, judged.

    :raises Problem: 422 that tells of each member what is wrong with it.
    """
    try:
        return shape.model_validate(given)
    except ValidationError as wrong:
        errors = [{"at": ".".join(map(str, one["loc"])), "detail": one["msg"]} for one in wrong.errors()]
        raise Problem(422, "this is not as the API's description says", errors=errors) from wrong
