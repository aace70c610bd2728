"""Atlas's own database, separate from Valetkey's: countries, subdivisions, currencies, and the lists of users."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from sqlalchemy import JSON, Engine, create_engine, delete, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.schema import CreateIndex, CreateTable

from . import gazetteer


class Base(DeclarativeBase):
    pass


class Country(Base):
    __tablename__ = "countries"
    alpha_2: Mapped[str] = mapped_column(primary_key=True)
    alpha_3: Mapped[str]
    numeric: Mapped[str]
    name: Mapped[str]
    official_name: Mapped[str | None]
    flag: Mapped[str]
    searched: Mapped[str]  # its names in lowercase without accents, see gazetteer.searchable()


class Subdivision(Base):
    __tablename__ = "subdivisions"
    code: Mapped[str] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(index=True)
    type: Mapped[str]
    name: Mapped[str]
    parent: Mapped[str | None]
    searched: Mapped[str]


class Currency(Base):
    __tablename__ = "currencies"
    alpha_3: Mapped[str] = mapped_column(primary_key=True)
    numeric: Mapped[str]
    name: Mapped[str]
    searched: Mapped[str]


class Edition(Base):
    __tablename__ = "edition"
    one: Mapped[int] = mapped_column(primary_key=True)  # always 1: the table has one row
    edition: Mapped[str]  # of the data in the tables above


class PlaceList(Base):
    __tablename__ = "lists"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    places: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    version: Mapped[int]
    changed_at: Mapped[float]


def init_app(app: Flask) -> None:
    """Open the database of ``ATLAS_DATABASE_URL``; create and fill its tables if they are missing or outdated."""
    url = app.config.get("ATLAS_DATABASE_URL") or os.environ.get("ATLAS_DATABASE_URL", "sqlite:///var/atlas.db")
    file = make_url(url).database
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    event.listen(engine, "connect", _write_ahead)
    _fill(engine)
    app.extensions["atlas"] = sessionmaker(engine, expire_on_commit=False)


def session() -> AbstractContextManager[Session]:
    """Return a session for one transaction: ``with session() as s: ...`` commits at the end."""
    return current_app.extensions["atlas"].begin()


def _write_ahead(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers


def _fill(engine: Engine) -> None:
    """Create missing tables, and replace the data if it is of another edition.

    Safe if several processes start at once.
    """
    with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
    with engine.connect() as connection:
        if connection.scalar(select(Edition.edition)) == gazetteer.EDITION:
            return
    with engine.begin() as connection:
        connection.execute(insert(Edition).prefix_with("OR REPLACE"), {"one": 1, "edition": gazetteer.EDITION})
        for table, rows in REFERENCE_DATA.items():
            connection.execute(delete(table))
            connection.execute(insert(table), rows)


REFERENCE_DATA = {
    Country: gazetteer.COUNTRIES,
    Subdivision: gazetteer.SUBDIVISIONS,
    Currency: gazetteer.CURRENCIES,
}
