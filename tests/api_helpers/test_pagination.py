"""Cursor pagination: every row once, in order, forwards and back, while rows come and go; on both databases."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid5

import pytest
import requests.utils
import sqlalchemy as sa
from flask import Flask, jsonify
from flask.testing import FlaskClient
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.conftest import MakeApp
from tests.support.browser_client import Clock
from valetkey import public
from valetkey.api_helpers import open_cursor, paginate, seal_cursor, use_problems
from valetkey.api_helpers.keyset import read_order

KEY = b"k" * 32
SPACE = UUID(int=0)


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "host_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    colour: Mapped[str]
    stars: Mapped[int]
    price: Mapped[Decimal] = mapped_column(sa.Numeric(8, 2))
    made: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    code: Mapped[str] = mapped_column(unique=True)
    mark: Mapped[str | None]


notes: sa.Table = Note.__table__  # type: ignore[assignment]


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


def add(engine: sa.Engine, numbers: range, seed: int = 5) -> None:
    chance = random.Random(seed)
    with engine.begin() as connection:
        for number in numbers:
            values = {"id": number, "colour": chance.choice("rgb"), "stars": chance.randint(1, 3), "mark": None}
            values["price"] = Decimal(chance.randint(0, 200)) / 100
            values["made"] = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randint(0, 3))
            values["code"] = str(uuid5(SPACE, str(number)))
            connection.execute(notes.insert().values(**values))


class Api:
    def __init__(self, app: Flask, engine: sa.Engine) -> None:
        self.engine = engine
        self.http: FlaskClient = app.test_client()
        self.select: sa.Select[Any] = sa.select(Note).order_by(Note.id)
        self.orm = True
        app.add_url_rule("/api/notes", "notes", self.list)
        app.add_url_rule("/api/others", "others", self.list)

    def list(self) -> Any:
        with Session(self.engine) as session:
            page = paginate(self.select, session.execute, usual=4, largest=50, key=KEY)
            items = [getattr(item, "id", item) for item in page.items]
        return jsonify(items=items, next=page.next, prev=page.prev), 200, page.headers

    def walk(self, path: str, way: str = "next", on: Callable[[], None] = lambda: None) -> list[Any]:
        found: list[Any] = []
        for _ in range(200):
            answer = self.http.get(path)
            assert answer.status_code == 200, answer.text
            items = answer.json["items"]
            found = found + items if way == "next" else items + found
            on()
            links = {link["rel"]: link["url"] for link in requests.utils.parse_header_links(answer.headers["Link"])}
            assert "first" in links and ("next" in links) == bool(answer.json["next"])
            self.last = answer.json
            if way not in links:
                return found
            path = links[way]
        raise AssertionError("it does not end")


@pytest.fixture
def app() -> Flask:
    app = Flask("host")
    use_problems(app, "")
    return app


@pytest.fixture
def api(app: Flask, engine: sa.Engine) -> Api:
    return Api(app, engine)


ORDERS: list[tuple[Any, ...]] = [
    (Note.id,),
    (Note.id.desc(),),
    (Note.colour, Note.id),
    (Note.colour.desc(), Note.stars, Note.id.desc()),
    (Note.price.desc(), Note.made, Note.code),
    (sa.func.coalesce(Note.mark, Note.colour), Note.stars.desc(), Note.id),
    (Note.made.desc(), Note.id),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: ", ".join(map(str, order)))
@pytest.mark.parametrize("size", [1, 4, 37, 50])
def test_each_row_comes_once_in_order_forwards_and_back(api: Api, order: tuple[Any, ...], size: int) -> None:
    add(api.engine, range(37))
    api.select = sa.select(Note).order_by(*order)
    with Session(api.engine) as session:
        expected = [note.id for note in session.scalars(api.select)]

    assert api.walk(f"/api/notes?limit={size}") == expected
    if size < 37:
        back = f"/api/notes?limit={size}&cursor={api.last['prev']}"
        assert api.walk(back, "prev") == expected[: (len(expected) - 1) // size * size]


def test_a_list_may_be_ordered_by_what_has_a_label(api: Api) -> None:
    add(api.engine, range(9))
    lower = sa.func.lower(Note.colour).label("lower")
    for ordered in (lower, lower.desc()):
        api.select = sa.select(Note.id, lower).order_by(ordered, Note.id.desc())
        with api.engine.connect() as connection:
            every = [{"id": row[0], "lower": row[1]} for row in connection.execute(api.select)]

        assert api.walk("/api/notes?limit=2") == every


def test_rows_that_come_and_go_move_no_other_row(api: Api) -> None:
    add(api.engine, range(100, 120))
    api.select = sa.select(Note).order_by(Note.id)
    low = iter(range(99, 0, -1))

    def disturb() -> None:
        add(api.engine, range(number := next(low), number + 1))
        with api.engine.begin() as connection:
            connection.execute(notes.delete().where(notes.c.id == 100 + (99 - number)))

    assert api.walk("/api/notes", on=disturb) == list(range(100, 120)), "an offset would repeat and miss rows"


def test_the_row_that_a_cursor_names_may_be_gone(api: Api) -> None:
    add(api.engine, range(10))
    cursor = api.http.get("/api/notes").json["next"]
    with api.engine.begin() as connection:
        connection.execute(notes.delete().where(notes.c.id.in_([3, 4])))

    assert api.http.get(f"/api/notes?cursor={cursor}").json["items"] == [5, 6, 7, 8]


def test_columns_come_as_mappings_and_one_column_as_its_values(api: Api) -> None:
    add(api.engine, range(3))
    api.select = sa.select(notes.c.id, notes.c.code).order_by(notes.c.stars, notes.c.id)
    assert api.http.get("/api/notes").json["items"][0].keys() == {"id", "code"}

    api.select = sa.select(notes.c.code).order_by(notes.c.id)
    assert api.http.get("/api/notes").json["items"] == [str(uuid5(SPACE, str(number))) for number in range(3)]


def test_an_empty_list_has_no_neighbours(api: Api) -> None:
    answer = api.http.get("/api/notes")

    assert answer.json == {"items": [], "next": None, "prev": None}
    assert answer.headers["Link"] == '</api/notes>; rel="first"'


def test_links_keep_the_filters_and_are_relative_where_the_host_is_not_known(api: Api) -> None:
    add(api.engine, range(10))

    answer = api.http.get("/api/notes?colour=r&limit=2", headers={"Host": "evil.example"})

    links = {link["rel"]: link["url"] for link in requests.utils.parse_header_links(answer.headers["Link"])}
    assert links["first"] == "/api/notes?colour=r&limit=2"
    assert parse_qs(urlsplit(links["next"]).query).keys() == {"colour", "limit", "cursor"}
    assert "evil" not in answer.headers["Link"]


@pytest.mark.parametrize("limit", ["0", "51", "-1", "x", "", "1e1", "٣", "9" * 30])
def test_a_size_out_of_bounds_is_refused_with_the_bounds(api: Api, limit: str) -> None:
    refused = api.http.get("/api/notes", query_string={"limit": limit})

    assert (refused.status_code, refused.mimetype) == (400, "application/problem+json")
    assert "between 1 and 50" in refused.json["detail"]


def test_a_cursor_of_another_query_is_refused(api: Api) -> None:
    add(api.engine, range(10))
    cursor = api.http.get("/api/notes?colour=r").json["next"]

    assert api.http.get(f"/api/notes?colour=r&cursor={cursor}&limit=7").status_code == 200
    for path in ("/api/notes?", "/api/notes?colour=g", "/api/notes?colour=r&more=1", "/api/others?colour=r"):
        refused = api.http.get(f"{path}&cursor={cursor}")
        assert (refused.status_code, refused.mimetype) == (400, "application/problem+json"), path
    api.select = sa.select(Note).order_by(Note.id.desc())
    assert api.http.get(f"/api/notes?colour=r&cursor={cursor}").status_code == 400


def test_a_changed_cursor_is_refused(api: Api) -> None:
    add(api.engine, range(10))
    cursor: str = api.http.get("/api/notes").json["next"]

    changed = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor) - 1)]
    for other in [*changed, "", "x", "é", "a" * 3000, cursor[:-4], "=" * 10]:
        status = api.http.get("/api/notes", query_string={"cursor": other}).status_code
        assert status == (400 if other else 200), other


@pytest.mark.parametrize(
    "value",
    [1, -5, 1.5, True, "é'\"", b"\x00\xff", Decimal("1.10"), SPACE, datetime(2024, 1, 1, 5), datetime.now(UTC).date()],
)
def test_a_cursor_brings_back_each_kind_of_value(app: Flask, value: Any) -> None:
    with app.app_context():
        cursor = seal_cursor([value], "q", now=100, lifetime=10, key=KEY)

        assert open_cursor(cursor, "q", now=110, key=KEY) == [value]


def test_a_cursor_has_an_end_and_a_key(app: Flask) -> None:
    from valetkey.api_helpers import Problem

    with app.app_context():
        cursor = seal_cursor([1], "q", now=100, lifetime=10, key=KEY)
        for now, key in ((111, KEY), (100, b"other")):
            with pytest.raises(Problem) as refused:
                open_cursor(cursor, "q", now=now, key=key)
            assert refused.value.code == 400
        with pytest.raises(RuntimeError, match="key="):
            seal_cursor([1], "q", now=100, lifetime=10)
        with pytest.raises(TypeError, match="object"):
            seal_cursor([object()], "q", now=100, lifetime=10, key=KEY)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (sa.select(Note), "order_by"),
        (sa.select(Note).order_by(Note.colour), "unique"),
        (sa.select(Note).order_by(Note.mark, Note.id), "NULL"),
        (sa.select(Note).order_by(Note.colour.nulls_last(), Note.id), "nulls_last"),
        (sa.select(Note).order_by(Note.mark.label("m"), Note.id), "NULL"),
        (sa.select(Note).order_by("colour", "id"), "not by text"),
        (sa.select(Note).order_by(sa.desc("colour"), Note.id), "not by text"),
        (sa.select(Note).order_by(sa.text("colour"), Note.id), "not by text"),
        (sa.select(Note).order_by(Note.id).limit(5), "limit"),
        (sa.select(Note).order_by(Note.id).offset(5), "offset"),
    ],
)
def test_a_select_that_cannot_be_continued_is_told_why(select: sa.Select[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_order(select)


def test_a_null_that_only_the_rows_show_is_told(api: Api) -> None:
    add(api.engine, range(3))
    with api.engine.connect() as connection, Flask("x").test_request_context("/"):
        mixed = sa.select(notes).order_by(sa.func.lower(notes.c.mark), notes.c.id)
        with pytest.raises(ValueError, match="NULL"):
            paginate(mixed, connection.execute, key=KEY)


def test_with_a_valetkey_its_keys_sign_its_clock_counts_and_links_are_whole(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_store_url)
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    add(engine, range(10))

    def listed() -> Any:
        with engine.connect() as connection:
            page = paginate(sa.select(notes.c.id).order_by(notes.c.id), connection.execute, usual=4)
        return jsonify(items=page.items, next=page.next), 200, page.headers

    app.add_url_rule("/api/notes", "notes", public(listed))
    http = app.test_client()
    first = http.get("/api/notes", headers={"Host": "127.0.0.1:8000"})
    follow = f"/api/notes?cursor={first.json['next']}"

    assert first.headers["Link"].startswith("<http://127.0.0.1:8000/api/notes?cursor=")
    assert "evil" not in http.get("/api/notes", headers={"Host": "evil.example"}).headers["Link"]
    assert http.get(follow).json["items"] == [4, 5, 6, 7]
    clock.forward(86_401)
    assert http.get(follow).status_code == 400
    engine.dispose()
