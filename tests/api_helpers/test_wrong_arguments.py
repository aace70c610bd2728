"""Arguments of the helpers that a developer gets wrong: the error says what to write."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from valetkey.api_helpers import deprecated, max_body, paginate, sparse_fields
from valetkey.openapi.describe import describe

NOTES = sa.Table("notes", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


def view() -> str:
    return "x"


@pytest.mark.parametrize(
    ("decorator", "example"),
    [
        (sparse_fields, 'sparse_fields("id", "author.name")'),
        (max_body, 'max_body("64 KiB")'),
        (deprecated, 'deprecated(since="2026-01-31")'),
        (describe, "describe(response=Note)"),
    ],
)
def test_a_decorator_without_its_parentheses_says_how_to_write_it(decorator: Any, example: str) -> None:
    with pytest.raises(TypeError) as refused:
        decorator(view)

    assert str(refused.value) == f"write @{decorator.__name__}(...) with arguments, such as @{example}"


@pytest.mark.parametrize("names", [(["id"],), (("id", "title"),), (5,), ("id", ""), (b"id",)])
def test_a_field_is_neither_a_list_nor_empty(names: Any) -> None:
    with pytest.raises(ValueError, match="pass each field as a string of its own"):
        sparse_fields(*names)


@pytest.mark.parametrize("select", [NOTES, sa.text("SELECT id FROM notes"), sa.union_all(sa.select(NOTES.c.id))])
def test_what_is_no_select_cannot_be_paginated(select: Any) -> None:
    with Flask("x").test_request_context("/"), pytest.raises(ValueError, match="paginate needs a select, such as"):
        paginate(select, print, key=b"k" * 32)


@pytest.mark.parametrize("sizes", [{"usual": 10, "largest": 5}, {"usual": 0}, {"usual": -1}, {"largest": 19}])
def test_the_usual_page_size_is_between_1_and_the_largest(sizes: dict[str, int]) -> None:
    select = sa.select(NOTES.c.id).order_by(NOTES.c.id)
    for url in ("/", "/?limit=1"):
        with Flask("x").test_request_context(url), pytest.raises(ValueError, match="must be a number between 1 and"):
            paginate(select, print, key=b"k" * 32, **sizes)
