"""Pydantic models of the API's JSON: they validate requests, and the OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from valetkey.api_helpers import Problem

LARGEST_PAGE = 250
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class Row(BaseModel):
    """Base of models that are read from a database row."""

    model_config = ConfigDict(from_attributes=True)


class Paged(BaseModel):
    """Query parameters of a page. The `Link` header of a page has the URLs of the previous and the next page."""

    limit: int = Field(50, ge=1, le=LARGEST_PAGE, description="The maximum number of items on the page.")
    cursor: str | None = Field(None, description="Where the page begins; taken from a `Link` header.")


class Chosen(BaseModel):
    """Query parameter that selects members of the response."""

    fields: str | None = Field(None, description="Members to return, separated by commas. Default: all.")


class Search(Chosen, Paged):
    """Query parameters of a search."""

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
    """A subdivision of a country in ISO 3166-2, such as a state, province or district."""

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
    """A place in a list."""

    model_config = ConfigDict(extra="forbid")

    code: Code = Field(description="A country or one of its subdivisions.", examples=["PT-11"])
    note: str = Field("", max_length=500)


class PlaceListInput(BaseModel):
    """The name and the places of a list that is created or changed."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    places: list[Place] = Field(default_factory=list, max_length=100)


class Condition(BaseModel):
    """Request header that names the version of a list that a change is based on."""

    if_match: str = Field(alias="If-Match", description="The `ETag` of the list as you read it.", examples=['"3f"'])


class PlaceList(Row):
    """A stored list of places."""

    id: str
    name: str
    places: list[Place]
    changed_at: float = Field(description="Seconds since 1970.")


class PlaceLists(BaseModel):
    """A page of the user's lists."""

    items: list[PlaceList]


Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], data: object) -> Shape:
    """Return the query or body of a request as a model.

    :raises Problem: a 422 response that lists the invalid members.
    """
    try:
        return shape.model_validate(data)
    except ValidationError as invalid:
        errors = [{"at": ".".join(map(str, error["loc"])), "detail": error["msg"]} for error in invalid.errors()]
        raise Problem(422, "the request does not match the API's description", errors=errors) from invalid
