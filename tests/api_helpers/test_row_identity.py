"""Which selects have an order that identifies each row, so that ``paginate`` skips none.

Joins, groups, unique indexes, and conditions that equate a column with a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, joinedload, mapped_column, relationship

from valetkey.api_helpers.keyset import OrderedSelect, read_order


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note_with_tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    stars: Mapped[int]
    tags: Mapped[list[Tag]] = relationship(back_populates="note")
    readers: Mapped[list[Reader]] = relationship(secondary="reader_of_note")


class Reader(Base):
    __tablename__ = "reader"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)


class Reading(Base):
    __tablename__ = "reader_of_note"
    note_id: Mapped[int] = mapped_column(sa.ForeignKey(Note.id), primary_key=True)
    reader_id: Mapped[int] = mapped_column(sa.ForeignKey(Reader.id), primary_key=True)


class Title(Base):
    __tablename__ = "title_of_note"
    note_id: Mapped[int] = mapped_column(sa.ForeignKey(Note.id), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    is_short: Mapped[bool] = mapped_column(primary_key=True)


class Tag(Base):
    __tablename__ = "tag_of_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(sa.ForeignKey(Note.id))
    name: Mapped[str] = mapped_column(unique=True)
    rank: Mapped[int]
    rank_of_some: Mapped[int]
    word: Mapped[str]
    note: Mapped[Note] = relationship(back_populates="tags")
    __table_args__ = (
        sa.Index("best", "rank_of_some", unique=True, sqlite_where=sa.text("1"), postgresql_where=sa.text("true")),
        sa.Index("text", sa.text("(rank + 0)"), "word", unique=True),
    )


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


Other = aliased(Note)
tags_of_notes = sa.select(Note.id, Tag.name).join(Tag).subquery()
titles = sa.select(Title.note_id, Title.is_short).where(Title.language == "en").subquery()
is_english = sa.and_(Title.note_id == Note.id, Title.language == "en", Title.is_short.is_(True))
counts = sa.select(Tag.note_id, sa.func.count().label("count")).group_by(Tag.note_id).subquery()
tags_alias, tags_cte = tags_of_notes.alias(), tags_of_notes.element.cte().alias()
ids_twice = sa.union_all(sa.select(Note.id), sa.select(Tag.id)).subquery()
stars = sa.select(Note.id, Note.stars)
stars_twice = sa.union_all(stars, stars).cte().alias()
some_or_all_stars = sa.union(stars.where(Note.id > 1), stars).cte().alias()
stars_or_ranks = sa.union(stars, sa.select(Tag.id, Tag.rank)).subquery()
stars_and_no_ranks = sa.except_(stars, sa.select(Tag.note_id, Tag.rank)).subquery()
stars_and_ranks = sa.intersect_all(sa.select(Tag.note_id, Tag.rank), stars).subquery()
SomeOrAll = aliased(Note, sa.union(sa.select(Note).where(Note.id > 1), sa.select(Note)).subquery())
pairs = sa.union(sa.select(Note.id, Other.stars).join(Other, sa.true()), sa.select(Note.id, Note.stars)).subquery()
first_ancestors = sa.select(Tag.id.label("leaf"), Tag.id, Tag.note_id).cte(recursive=True)
ancestors = first_ancestors.union_all(
    sa.select(first_ancestors.c.leaf, Tag.id, Tag.note_id).join(Tag, Tag.id == first_ancestors.c.note_id)
)


def size_of(column: Any) -> Any:
    """Return an expression that is another object at each call."""
    return sa.func.length(column)


@pytest.mark.parametrize(
    "select",
    [
        sa.select(Note.id, Tag.name).join(Tag).order_by(Note.id),
        sa.select(Note.id, Tag.name).outerjoin(Tag).order_by(Note.id),
        sa.select(Note.id, Tag.name).where(Note.id == Tag.note_id).order_by(Note.id),
        sa.select(Note.id, Tag.name).select_from(sa.outerjoin(Tag, Note, Tag.id == Note.id)).order_by(Note.id),
        sa.select(Note.id, Tag.id).join(Tag, Note.id == Tag.id, full=True).order_by(Note.id),
        sa.select(Note.id, Other.id).join(Other, Other.stars == Note.id).order_by(Note.id),
        sa.select(Note.id, Tag.name).join(Tag).distinct().order_by(Note.id),
        sa.select(Note.id, Tag.rank, sa.func.count()).join(Tag).group_by(Note.id, Tag.rank).order_by(Note.id),
        sa.select(tags_of_notes).order_by(tags_of_notes.c.id),
        sa.select(tags_alias).order_by(tags_alias.c.id),
        sa.select(tags_cte).order_by(tags_cte.c.id),
        sa.select(ids_twice).order_by(ids_twice.c.id),
        sa.select(stars_twice).order_by(stars_twice.c.id),
        sa.select(stars_or_ranks).order_by(stars_or_ranks.c.id),
        sa.select(stars_and_ranks).order_by(stars_and_ranks.c.note_id, stars_and_ranks.c.rank),
        sa.select(pairs).order_by(pairs.c.id),
        sa.select(ancestors.c.leaf, ancestors.c.id).order_by(ancestors.c.id),
        sa.select(Note).join(ancestors, ancestors.c.id == Note.id).order_by(Note.id),
        sa.select(size_of(Tag.word)).group_by(size_of(Tag.word)).order_by(size_of(Tag.name)),
        sa.select(size_of(Tag.word)).group_by(size_of(Tag.word)).order_by(sa.func.lower(Tag.word)),
        sa.select(sa.func.mod(Tag.id, 2)).group_by(sa.func.mod(Tag.id, 2)).order_by(sa.func.mod(Tag.id, 3)),
        sa.select(size_of(Other.id)).group_by(size_of(Other.id)).order_by(size_of(aliased(Note).id)),
        sa.select(Tag).order_by(Tag.rank_of_some),
        sa.select(Tag).order_by(Tag.word),
        sa.select(Note).join(Reading).where(Reading.reader_id.in_([7, 8])).order_by(Note.id),
        sa.select(Note).join(Reading).where(Reading.reader_id == sa.any_(sa.literal([7]))).order_by(Note.id),
        sa.select(Note).join(Reading).where(Reading.reader_id > 7).order_by(Note.id),
        sa.select(Note).join(Reading).where(sa.or_(Reading.reader_id == 7, Note.stars == 1)).order_by(Note.id),
        sa.select(Note).join(Note.readers).where(Reader.email.is_(None)).order_by(Note.id),
        sa.select(Note.id, Title.note_id).join(Title, is_english, full=True).order_by(Note.id),
        sa.select(Title, Note.id).outerjoin(Note, sa.and_(Title.language == "en", Title.is_short)).order_by(Note.id),
        sa.select(Tag).outerjoin(sa.join(Note, Title), Tag.note_id == Note.id).order_by(Tag.id),
        sa.select(Title.language, Tag.word)
        .select_from(sa.outerjoin(Tag, sa.join(Note, Title, Title.language == "en"), Tag.note_id == Note.id))
        .distinct()
        .order_by(Tag.word),
    ],
    ids=lambda select: " ".join(str(select).split()),
)
def test_an_order_that_does_not_identify_the_row_of_each_table_is_refused(select: sa.Select[Any]) -> None:
    with pytest.raises(ValueError, match="unique column"):
        read_order(select)


@pytest.mark.parametrize(
    "select",
    [
        sa.select(Note.id, Tag.name).join(Tag).order_by(Note.id, Tag.name),
        sa.select(Tag, Note).join(Tag.note).order_by(Tag.id),
        sa.select(Tag, Note).outerjoin(Tag.note).order_by(Tag.id),
        sa.select(Tag.id, Note.id).where(Note.id == Tag.note_id, Note.stars > 1).order_by(Tag.id),
        sa.select(Note.id, Other.id).join(Other, sa.and_(Other.id == Note.stars, Other.stars > 0)).order_by(Note.id),
        sa.select(Note).join(Tag).distinct().order_by(Note.id),
        sa.select(Note.id, sa.func.count()).join(Tag).group_by(Note.id).order_by(Note.id),
        sa.select(Note).options(joinedload(Note.tags)).order_by(Note.id),
        sa.select(tags_of_notes).order_by(tags_of_notes.c.id, tags_of_notes.c.name),
        sa.select(Note.id, counts.c.count).outerjoin(counts, counts.c.note_id == Note.id).order_by(Note.id),
        sa.select(Note).join(Reading).where(Reading.reader_id == 7).order_by(Note.stars, Note.id),
        sa.select(Note).join(Note.readers).where(Reader.id == sa.cast("7", sa.Integer)).order_by(Note.id),
        sa.select(Note).join(Note.readers).where(Reader.email == "a@example.org").order_by(Note.id),
        sa.select(Note).join(Reading).where(Reading.reader_id.in_([7])).order_by(Note.id),
        sa.select(Note).outerjoin(Title, is_english).order_by(Note.id),
        sa.select(Note).join(Title, is_english).order_by(Note.id),
        sa.select(Note).join(Title).where(Title.language == "en", ~Title.is_short).order_by(Note.id),
        sa.select(Title).where(sa.tuple_(Title.language, Title.is_short) == ("en", True)).order_by(Title.note_id),
        sa.select(Title).where(sa.tuple_(Title.language, Title.is_short).in_([("en", True)])).order_by(Title.note_id),
        sa.select(titles).order_by(titles.c.note_id, titles.c.is_short),
        sa.select(tags_alias).order_by(tags_alias.c.id, tags_alias.c.name),
        sa.select(tags_cte).order_by(tags_cte.c.id, tags_cte.c.name),
        sa.select(stars_or_ranks).order_by(stars_or_ranks.c.stars, stars_or_ranks.c.id),
        sa.select(stars_and_no_ranks).order_by(stars_and_no_ranks.c.id),
        sa.select(some_or_all_stars).order_by(some_or_all_stars.c.id),
        sa.select(SomeOrAll.id, SomeOrAll.stars).order_by(SomeOrAll.stars, SomeOrAll.id),
        sa.select(Note).where(Note.id.in_(sa.select(ids_twice.c.id))).order_by(Note.id),
        sa.select(size_of(Tag.word), sa.func.count()).group_by(size_of(Tag.word)).order_by(size_of(Tag.word)),
        sa.select(size_of(Tag.word)).distinct().order_by(size_of(Tag.word)),
        sa.select(-Tag.rank).group_by(-Tag.rank).order_by((-Tag.rank).desc()),
        sa.select(Tag).outerjoin(sa.join(Note, Title, is_english), Tag.note_id == Note.id).order_by(Tag.id),
    ],
    ids=lambda select: " ".join(str(select).split()),
)
def test_a_join_needs_no_more_columns_in_the_order_if_they_identify_each_row(
    engine: sa.Engine, select: sa.Select[Any]
) -> None:
    with Session(engine) as session:
        add_rows(session)
        all_rows = [tuple(row) for row in session.execute(select).unique()]

        assert read_pages(session, read_order(select)) == all_rows
        assert len(all_rows) > 1


def add_rows(session: Session) -> None:
    """Add four notes that have several titles, readers and tags each, and two tags without such a note."""
    session.add_all([*(Note(id=number, stars=number % 3) for number in range(1, 5)), Note(id=50, stars=0)])
    session.add_all([Reader(id=7, email="a@example.org"), Reader(id=8, email=None)])
    session.flush()
    for number in range(1, 5):
        session.add_all(Reading(note_id=number, reader_id=reader) for reader in (7, 8))
        session.add_all(
            Title(note_id=number, language=language, is_short=is_short)
            for language in ("de", "en")
            for is_short in (False, True)
        )
    for number in range(1, 11):
        values = {"rank": number, "rank_of_some": number, "word": str(number)}
        session.add(Tag(id=number, note_id=(number + 1) // 2 if number < 9 else 50, name=f"tag {number}", **values))
    session.flush()


def read_pages(session: Session, ordered: OrderedSelect) -> list[tuple[Any, ...]]:
    """Return the rows of all pages with two rows each, without the additional columns."""
    width, place = len(ordered.columns), ()
    pages: list[tuple[Any, ...]] = []
    while rows := [tuple(row) for row in session.execute(ordered.select_after(place, 2, backwards=False)).unique()]:
        pages += [row[:-width] for row in rows]
        place = rows[-1][-width:]
    return pages


def test_pages_of_a_join_have_each_row_once(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in range(15):
            if number % 3 == 0:
                session.add(Note(id=number // 3, stars=1))
            values = {"note_id": number // 3, "rank": number, "rank_of_some": number, "word": str(number)}
            session.add(Tag(id=number, name=f"tag {number}", **values))
        session.commit()
        ordered = read_order(sa.select(Note.id, Tag.id).join(Tag).order_by(Note.id.desc(), Tag.id))
        place: tuple[Any, ...] = ()
        ids: list[int] = []
        while rows := session.execute(ordered.select_after(place, 2, backwards=False)).all():
            ids += [row[1] for row in rows]
            place = tuple(rows[-1])[2:]

    assert ids == [12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2]
