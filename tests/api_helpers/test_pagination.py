"""Cursor pagination: each row once, in order, forwards and backwards, while rows are added and deleted.

The tests run with both databases.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid5

import pytest
import requests.utils
import sqlalchemy as sa
from flask import Flask, jsonify
from flask.testing import FlaskClient
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from tests.support.app import MakeApp
from tests.support.clock import Clock
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
    created_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    code: Mapped[str] = mapped_column(unique=True)
    mark: Mapped[str | None]


notes: sa.Table = Note.__table__  # type: ignore[assignment]  # typed as FromClause


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


def add(engine: sa.Engine, numbers: range, seed: int = 5) -> None:
    generator = random.Random(seed)
    with engine.begin() as connection:
        for number in numbers:
            values = {"id": number, "colour": generator.choice("rgb"), "stars": generator.randint(1, 3), "mark": None}
            values["price"] = Decimal(generator.randint(0, 200)) / 100
            values["created_at"] = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=generator.randint(0, 3))
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

    def walk(self, path: str, direction: str = "next", after_page: Callable[[], None] = lambda: None) -> list[Any]:
        """Follow the links in one direction to the end, and return the items of all pages in list order."""
        all_items: list[Any] = []
        for _ in range(200):
            response = self.http.get(path)
            assert response.status_code == 200, response.text
            items = response.json["items"]
            all_items = all_items + items if direction == "next" else items + all_items
            after_page()
            links = {link["rel"]: link["url"] for link in requests.utils.parse_header_links(response.headers["Link"])}
            assert "first" in links and ("next" in links) == bool(response.json["next"])
            self.last = response.json
            if direction not in links:
                return all_items
            path = links[direction]
        raise AssertionError("the list has more than 200 pages")


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
    (Note.price.desc(), Note.created_at, Note.code),
    (sa.func.coalesce(Note.mark, Note.colour), Note.stars.desc(), Note.id),
    (Note.created_at.desc(), Note.id),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: ", ".join(map(str, order)))
@pytest.mark.parametrize("size", [1, 4, 37, 50])
def test_each_row_is_on_one_page_in_order_forwards_and_backwards(api: Api, order: tuple[Any, ...], size: int) -> None:
    add(api.engine, range(37))
    api.select = sa.select(Note).order_by(*order)
    with Session(api.engine) as session:
        expected = [note.id for note in session.scalars(api.select)]

    assert api.walk(f"/api/notes?limit={size}") == expected
    if size < 37:
        back = f"/api/notes?limit={size}&cursor={api.last['prev']}"
        assert api.walk(back, "prev") == expected[: (len(expected) - 1) // size * size]


def test_a_list_may_be_ordered_by_a_labeled_column(api: Api) -> None:
    add(api.engine, range(9))
    lower = sa.func.lower(Note.colour).label("lower")
    for order in (lower, lower.desc()):
        api.select = sa.select(Note.id, lower).order_by(order, Note.id.desc())
        with api.engine.connect() as connection:
            expected = [{"id": row[0], "lower": row[1]} for row in connection.execute(api.select)]

        assert api.walk("/api/notes?limit=2") == expected


def test_added_and_deleted_rows_do_not_shift_other_rows(api: Api) -> None:
    add(api.engine, range(100, 120))
    api.select = sa.select(Note).order_by(Note.id)
    low = iter(range(99, 0, -1))

    def disturb() -> None:
        add(api.engine, range(number := next(low), number + 1))
        with api.engine.begin() as connection:
            connection.execute(notes.delete().where(notes.c.id == 100 + (99 - number)))

    assert api.walk("/api/notes", after_page=disturb) == list(range(100, 120)), "an offset would repeat and miss rows"


def test_the_row_that_a_cursor_points_to_may_be_deleted(api: Api) -> None:
    add(api.engine, range(10))
    cursor = api.http.get("/api/notes").json["next"]
    with api.engine.begin() as connection:
        connection.execute(notes.delete().where(notes.c.id.in_([3, 4])))

    assert api.http.get(f"/api/notes?cursor={cursor}").json["items"] == [5, 6, 7, 8]


def test_several_columns_are_dicts_and_a_single_column_is_its_values(api: Api) -> None:
    add(api.engine, range(3))
    api.select = sa.select(notes.c.id, notes.c.code).order_by(notes.c.stars, notes.c.id)
    assert api.http.get("/api/notes").json["items"][0].keys() == {"id", "code"}

    api.select = sa.select(notes.c.code).order_by(notes.c.id)
    assert api.http.get("/api/notes").json["items"] == [str(uuid5(SPACE, str(number))) for number in range(3)]


def test_each_selected_entity_has_a_name_also_if_its_alias_has_none(app: Flask, engine: sa.Engine) -> None:
    add(engine, range(2))
    first, second = aliased(Note), aliased(Note)
    select = sa.select(Note, first, second).join(first, first.id == Note.id).join(second, second.id == Note.id)

    with app.test_request_context("/api/notes"), Session(engine) as session:
        items = paginate(select.order_by(Note.id), session.execute, key=KEY).items

        assert [{name: note.id for name, note in item.items()} for item in items] == [
            {"Note": number, "Note_1": number, "Note_2": number} for number in range(2)
        ]


def test_an_empty_list_has_no_next_and_no_previous_page(api: Api) -> None:
    response = api.http.get("/api/notes")

    assert response.json == {"items": [], "next": None, "prev": None}
    assert response.headers["Link"] == '</api/notes>; rel="first"'


def test_links_have_the_filters_and_no_host_without_an_issuer(api: Api) -> None:
    add(api.engine, range(10))

    response = api.http.get("/api/notes?colour=r&limit=2", headers={"Host": "evil.example"})

    links = {link["rel"]: link["url"] for link in requests.utils.parse_header_links(response.headers["Link"])}
    assert links["first"] == "/api/notes?colour=r&limit=2"
    assert parse_qs(urlsplit(links["next"]).query).keys() == {"colour", "limit", "cursor"}
    assert "evil" not in response.headers["Link"]


@pytest.mark.parametrize("limit", ["0", "51", "-1", "x", "", "1e1", "٣", "9" * 30])
def test_an_invalid_page_size_is_refused_with_the_valid_range(api: Api, limit: str) -> None:
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


def test_a_modified_cursor_is_refused(api: Api) -> None:
    add(api.engine, range(10))
    cursor: str = api.http.get("/api/notes").json["next"]

    modified = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor) - 1)]
    for other in [*modified, "", "x", "é", "a" * 9000, cursor[:-4], "=" * 10]:
        status = api.http.get("/api/notes", query_string={"cursor": other}).status_code
        assert status == (400 if other else 200), other


@pytest.mark.parametrize(
    "value",
    [
        1,
        -5,
        1.5,
        True,
        "é'\"",
        "Ж" * 1000,
        "a\udc80\\u0041\U0001f600",
        b"\x00\xff",
        Decimal("1.10"),
        SPACE,
        datetime(2024, 1, 1, 5),
        datetime.now(UTC).date(),
    ],
)
def test_a_cursor_returns_values_of_every_type(app: Flask, value: Any) -> None:
    with app.app_context():
        cursor = seal_cursor([value], "q", now=100, lifetime=10, key=KEY)

        assert open_cursor(cursor, "q", now=110, key=KEY) == [value]


def test_a_cursor_that_would_be_too_long_to_open_is_an_error_when_it_is_made(app: Flask) -> None:
    with app.app_context():
        for size in range(4400, 4500):
            try:
                cursor = seal_cursor(["x" * size], "q", now=100, lifetime=10, key=KEY)
            except ValueError as error:
                assert "shorter values" in str(error)
            else:
                assert open_cursor(cursor, "q", now=100, key=KEY) == ["x" * size]
                last_size = size
    assert last_size < 4499


def test_a_cursor_expires_and_needs_its_key(app: Flask) -> None:
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
    ("select", "reason"),
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
def test_a_select_that_cannot_be_paged_is_refused_with_the_reason(select: sa.Select[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_order(select)


def test_a_null_in_the_order_is_refused_when_it_is_read(api: Api) -> None:
    add(api.engine, range(3))
    with api.engine.connect() as connection, Flask("x").test_request_context("/"):
        select = sa.select(notes).order_by(sa.func.lower(notes.c.mark), notes.c.id)
        with pytest.raises(ValueError, match="NULL"):
            paginate(select, connection.execute, key=KEY)


def test_with_valetkey_its_keys_and_clock_are_used_and_links_are_absolute(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_store_url)
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    add(engine, range(10))

    def list_notes() -> Any:
        with engine.connect() as connection:
            page = paginate(sa.select(notes.c.id).order_by(notes.c.id), connection.execute, usual=4)
        return jsonify(items=page.items, next=page.next), 200, page.headers

    app.add_url_rule("/api/notes", "notes", public(list_notes))
    http = app.test_client()
    first = http.get("/api/notes", headers={"Host": "127.0.0.1:8000"})
    next_path = f"/api/notes?cursor={first.json['next']}"

    assert first.headers["Link"].startswith("<http://127.0.0.1:8000/api/notes?cursor=")
    assert "evil" not in http.get("/api/notes", headers={"Host": "evil.example"}).headers["Link"]
    assert http.get(next_path).json["items"] == [4, 5, 6, 7]
    clock.forward(86_401)
    assert http.get(next_path).status_code == 400
    engine.dispose()


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Week(sa.TypeDecorator[date]):
    """A day in the database, of which the app sees only the week."""

    impl = sa.Date
    cache_ok = True

    def process_result_value(self, value: date | None, dialect: Any) -> date | None:
        return value and value - timedelta(days=value.weekday())


class Rough(sa.TypeDecorator[float]):
    impl = sa.REAL
    cache_ok = True


class Thing(Base):
    """A row with a column of each type that a database orders by."""

    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    flag: Mapped[bool]
    colour: Mapped[Colour]
    word: Mapped[Colour] = mapped_column(
        sa.Enum(Colour, name="word", values_callable=lambda members: [member.value for member in members])
    )
    text: Mapped[str] = mapped_column(sa.Enum("x", "y", name="letter"))
    day: Mapped[date]
    hour: Mapped[time]
    length: Mapped[timedelta]
    ratio: Mapped[float]
    key: Mapped[UUID]
    raw: Mapped[bytes]
    real: Mapped[float] = mapped_column(sa.REAL)
    rough: Mapped[float] = mapped_column(Rough)
    share: Mapped[Decimal] = mapped_column(sa.Numeric(8, 2))
    week: Mapped[date] = mapped_column(Week)


SUMS = {"sum": Thing.real + sa.cast(0.1, sa.Double), "decimal sum": Thing.share / 3}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", [*SUMS, *(column.name for column in Thing.__table__.columns if column.name != "id")])
def test_a_list_may_be_ordered_by_a_column_of_each_type(api: Api, name: str, descending: bool) -> None:
    with Session(api.engine) as session:
        for number in range(12):
            half = number % 3 % 2 == 1
            session.add(
                Thing(
                    id=number,
                    flag=half,
                    colour=Colour.RED if half else Colour.BLUE,
                    word=Colour.RED if half else Colour.BLUE,
                    text="x" if half else "y",
                    day=date(2026, 1, 1 + number % 3),
                    hour=time(number % 3, 0, 0, 5),
                    length=timedelta(days=number % 3, microseconds=7),
                    ratio=number % 3 / 7,
                    key=UUID(int=number % 3),
                    raw=bytes([number % 3]),
                    real=number % 3 / 7,
                    rough=number % 3 / 7,
                    share=Decimal(number % 3) / 7,
                    week=date(2026, 1, 6 + number % 3),
                )
            )
        session.commit()
        column = SUMS.get(name, getattr(Thing, name, None))
        select = sa.select(Thing).order_by(column.desc() if descending else column, Thing.id)
        expected = [thing.id for thing in session.scalars(select)]
    api.select = select

    assert api.walk("/api/notes?limit=2") == expected
    assert api.walk(f"/api/notes?limit=2&cursor={api.last['prev']}", "prev") == expected[:-2]


class Event(Base):
    """A row whose time is written by the database: in SQLite, without a fraction of a second."""

    __tablename__ = "host_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime] = mapped_column(server_default=sa.func.now())


@pytest.mark.parametrize(
    "order", [(Event.created, Event.id), (Event.created.desc(), Event.id.desc())], ids=["ascending", "descending"]
)
def test_times_that_the_database_wrote_are_compared_as_they_are_stored(api: Api, order: tuple[Any, ...]) -> None:
    api.select = sa.select(Event).order_by(*order)
    with Session(api.engine) as session:
        for number in range(6):
            session.execute(sa.insert(Event).values(id=number))
        session.execute(sa.insert(Event).values(id=6, created=datetime(2020, 1, 1)))
        session.commit()
        expected = [event.id for event in session.scalars(api.select)]

    assert api.walk("/api/notes?limit=2") == expected
    assert api.walk(f"/api/notes?limit=2&cursor={api.last['prev']}", "prev") == expected[:-1]


def test_links_keep_the_path_of_the_issuer_behind_a_proxy_that_removes_it(
    make_app: MakeApp, sqlite_store_url: str, engine: sa.Engine
) -> None:
    app = make_app(sqlite_store_url, issuer="https://api.example/at/path")
    add(engine, range(10))
    Api(app, engine)
    app.view_functions["notes"] = public(app.view_functions["notes"])

    for path in ("/api/notes", "/at/path/api/notes"):
        response = app.test_client().get(path, base_url="https://api.example")
        assert response.headers["Link"].startswith("<https://api.example/at/path/api/notes?cursor="), path
