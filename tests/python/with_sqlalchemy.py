"""A small application on SQLAlchemy's ORM, over psycopg (synchronous) and over asyncpg."""

import asyncio
import datetime
import enum
import os
import sys
import uuid
from decimal import Decimal
from typing import Optional

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ENUM, JSONB, insert as upsert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload
from sqlalchemy.orm import aliased, subqueryload

URL = os.environ["URL"]
MARK = os.environ["MARK"]


class Base(DeclarativeBase):
    pass


class Mood(enum.Enum):
    CALM = "calm"
    TENSE = "tense"


class Ward(Base):
    __tablename__ = "wards"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    mood: Mapped[Optional[Mood]] = mapped_column(ENUM(Mood, name="mood"))
    residents: Mapped[list["Resident"]] = relationship(back_populates="ward", order_by="Resident.id")


class Resident(Base):
    __tablename__ = "residents"
    id: Mapped[int] = mapped_column(primary_key=True)
    ward_id: Mapped[Optional[int]] = mapped_column(sa.ForeignKey("wards.id"))
    name: Mapped[Optional[str]]
    ssn: Mapped[str] = mapped_column(unique=True)
    mrn: Mapped[Optional[str]] = mapped_column(sa.String(12), index=True)
    born: Mapped[Optional[datetime.date]]
    seen: Mapped[Optional[datetime.datetime]] = mapped_column(sa.DateTime(timezone=True))
    falls: Mapped[Optional[int]]
    account: Mapped[Optional[int]] = mapped_column(sa.BigInteger)
    insured: Mapped[Optional[bool]]
    token: Mapped[Optional[uuid.UUID]]
    balance: Mapped[Optional[Decimal]] = mapped_column(sa.Numeric(12, 2))
    photo: Mapped[Optional[bytes]] = mapped_column(sa.LargeBinary)
    notes: Mapped[Optional[dict]] = mapped_column(JSONB)
    ward: Mapped[Optional[Ward]] = relationship(back_populates="residents")
    # The key of the relationship is itself protected.
    stays: Mapped[list["Stay"]] = relationship(back_populates="resident", order_by="Stay.id", cascade="all, delete-orphan")


class Stay(Base):
    __tablename__ = "stays"
    id: Mapped[int] = mapped_column(primary_key=True)
    resident_ssn: Mapped[str] = mapped_column(sa.ForeignKey("residents.ssn"))
    reason: Mapped[Optional[str]]
    cost: Mapped[Optional[int]]
    resident: Mapped[Resident] = relationship(back_populates="stays")


def resident(number, **more):
    return Resident(
        name=None if number % 5 == 0 else f"{MARK} Name {number} 'quoted' \\ äöü",
        ssn=f"{MARK}-{number}",
        mrn=f"m{number}",
        born=datetime.date(1950, 1, 1) + datetime.timedelta(days=number * 37),
        seen=datetime.datetime(2024, 2, 29, 13, 14, 15, number, tzinfo=datetime.timezone.utc),
        falls=number % 7,
        account=number << 40,
        insured=number % 2 == 0,
        token=uuid.UUID(int=number << 64),
        balance=Decimal(number) / 4,
        photo=bytes([0, 255, number % 256]),
        notes={"n": number, "who": MARK},
        **more,
    )


def show(label, values):
    for value in values:
        print(label, tuple(value) if isinstance(value, sa.Row) else value)


def described(resident):
    return (resident.id, resident.name, resident.ssn, resident.born, resident.seen, resident.balance, resident.insured, resident.notes)


def units_of_work(session):
    """What is added is written together: insertmanyvalues, with RETURNING of the new keys."""
    cardiology = Ward(name="Cardiology", mood=Mood.CALM)
    session.add_all([cardiology, Ward(name="Maternity")])
    for number in range(1, 31):
        stays = [Stay(reason=f"{MARK} reason {number} {n}", cost=n) for n in range(number % 3)]
        session.add(resident(number, ward=cardiology if number % 2 else None, stays=stays))
    session.commit()
    show("all", map(described, session.scalars(sa.select(Resident).order_by(Resident.id))))
    one = session.get(Resident, 4)
    one.name = f"{MARK} renamed"
    one.balance += 1
    one.stays.append(Stay(reason=f"{MARK} again"))
    session.commit()
    session.refresh(one)
    print(described(one), [stay.reason for stay in one.stays])


def queries(session):
    select = sa.select(Resident.id, Resident.name)
    show("equal", session.execute(select.where(Resident.ssn == f"{MARK}-3")))
    show("in", session.execute(select.where(Resident.ssn.in_([f"{MARK}-{n}" for n in (1, 2, 99)])).order_by(Resident.id)))
    show("not in", session.execute(select.where(Resident.falls.not_in([1, 2, 3])).order_by(Resident.id)))
    show("empty in", session.execute(select.where(Resident.ssn.in_([]))))
    show("any", session.execute(select.where(Resident.ssn == sa.any_(sa.literal([f"{MARK}-5", f"{MARK}-6"], sa.ARRAY(sa.Text)))).order_by(Resident.id)))
    show("null", session.execute(select.where(Resident.name.is_(None)).order_by(Resident.id)))
    show("distinct from", session.execute(select.where(Resident.mrn.is_distinct_from("m1"), Resident.id < 4).order_by(Resident.id)))
    show("between", session.execute(select.where(Resident.id.between(3, 5), Resident.born != datetime.date(1950, 4, 22)).order_by(Resident.id)))
    show("groups", sorted(tuple(row) for row in session.execute(sa.select(Resident.falls, sa.func.count()).group_by(Resident.falls))))
    other = aliased(Resident)
    same = sa.select(Resident.id, other.id).join(other, Resident.falls == other.falls).where(Resident.id < other.id, other.id < 12)
    show("self join", session.execute(same.order_by(Resident.id, other.id)))
    stays = sa.select(sa.func.count()).where(Stay.resident_ssn == Resident.ssn).scalar_subquery()
    show("correlated", session.execute(sa.select(Resident.id, stays).where(Resident.id < 6).order_by(Resident.id)))
    show("exists", session.scalars(sa.select(Resident.id).where(Resident.stays.any(Stay.cost == 1)).order_by(Resident.id)))
    show("has", session.scalars(sa.select(Stay.id).where(Stay.resident.has(Resident.ssn == f"{MARK}-5")).order_by(Stay.id)))
    known = sa.select(Resident.ssn, Resident.name).where(Resident.id < 4).cte("known")
    show("cte", session.execute(sa.select(known.c.name, Stay.reason).join(Stay, Stay.resident_ssn == known.c.ssn).order_by(Stay.id)))
    both = sa.union(sa.select(Resident.ssn).where(Resident.id < 3), sa.select(Stay.resident_ssn).where(Stay.id < 4))
    show("union", sorted(tuple(row) for row in session.execute(both)))
    page = sa.select(Resident).order_by(Resident.id).limit(3).offset(4)
    show("page", map(described, session.scalars(page)))
    print(session.scalar(sa.select(sa.func.count(Resident.ssn.distinct()))), session.scalar(sa.select(sa.exists().where(Resident.ssn == "no"))))


def relationships(session):
    ward = session.scalars(sa.select(Ward).where(Ward.name == "Cardiology")).one()
    print("lazy", [resident.id for resident in ward.residents], ward.residents[0].stays[0].reason)
    for loading in (selectinload, joinedload, subqueryload):
        session.expire_all()
        found = session.scalars(sa.select(Resident).where(Resident.id < 7).options(loading(Resident.stays)).order_by(Resident.id))
        show(loading.__name__, [(one.id, [stay.reason for stay in one.stays]) for one in found.unique()])
    session.expire_all()
    deep = sa.select(Ward).options(selectinload(Ward.residents).selectinload(Resident.stays)).order_by(Ward.id)
    show("deep", [(one.name, sum(len(resident.stays) for resident in one.residents)) for one in session.scalars(deep)])
    back = sa.select(Stay).options(joinedload(Stay.resident, innerjoin=True)).order_by(Stay.id).limit(5)
    show("many to one", [(one.reason, one.resident.name) for one in session.scalars(back)])


def in_bulk(session):
    rows = [{"ssn": f"{MARK}-{n}", "name": f"{MARK} bulk {n}", "falls": n % 4} for n in range(1000, 1250)]
    returned = session.scalars(sa.insert(Resident).returning(Resident, sort_by_parameter_order=True), rows)
    print(len({one.id for one in returned}))
    session.execute(sa.insert(Resident), [{"ssn": f"{MARK}-{n}", "mrn": f"m{n}"} for n in range(1250, 1300)])
    first = session.scalar(sa.select(Resident.id).where(Resident.ssn == f"{MARK}-1000"))
    session.execute(sa.update(Resident), [{"id": first + n, "name": f"{MARK} twice {n}"} for n in range(5)])
    print(session.execute(sa.update(Resident).where(Resident.falls == 3, Resident.id >= first).values(name=f"{MARK} three")).rowcount)
    print(session.execute(sa.delete(Resident).where(Resident.ssn.in_([f"{MARK}-1248", f"{MARK}-1249"]))).rowcount)
    again = upsert(Resident).values([{"ssn": f"{MARK}-1000", "name": f"{MARK} upserted"}, {"ssn": f"{MARK}-1300", "name": None}])
    again = again.on_conflict_do_update(index_elements=[Resident.ssn], set_={"name": again.excluded.name}).returning(Resident.ssn, Resident.name)
    show("upserted", sorted(tuple(row) for row in session.execute(again)))
    session.commit()
    show("in bulk", session.execute(sa.select(Resident.ssn, Resident.name, Resident.mrn).where(Resident.id >= first).order_by(Resident.id).limit(8)))


def transactions(session):
    session.add(resident(2000))
    session.flush()
    session.rollback()
    print("rolled back", session.scalar(sa.select(sa.func.count()).where(Resident.ssn == f"{MARK}-2000")))
    with session.begin_nested():
        session.add(resident(2001))
    try:
        with session.begin_nested():
            session.add(resident(1))
            session.flush()
    except IntegrityError as error:
        print("savepoint", getattr(error.orig, "sqlstate", None))
    print("kept", session.scalar(sa.select(Resident.mrn).where(Resident.ssn == f"{MARK}-2001").with_for_update()))
    session.commit()
    for statement in (sa.insert(Resident).values(ssn=f"{MARK}-3"), sa.insert(Resident).values(ssn=None), sa.text("SELECT 1/0")):
        try:
            session.execute(statement)
        except DBAPIError as error:
            print("error", type(error).__name__, getattr(error.orig, "sqlstate", None))
        session.rollback()
    doomed = session.scalars(sa.select(Resident).where(Resident.ssn == f"{MARK}-5")).one()
    session.delete(doomed)
    session.commit()
    print("deleted", session.scalar(sa.select(sa.func.count()).where(Stay.resident_ssn == f"{MARK}-5")))


def streamed(session):
    """A cursor on the server's side."""
    found = session.execute(sa.select(Resident.id, Resident.ssn).order_by(Resident.id).limit(50), execution_options={"yield_per": 20})
    show("streamed", [[tuple(row) for row in part] for part in found.partitions()])


def reflected(session):
    """The tables that are not protected are reflected as they are."""
    inspector = sa.inspect(session.connection())
    print(inspector.get_enums(), sorted(inspector.get_table_names()), [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns("wards")])
    print(inspector.get_pk_constraint("residents")["constrained_columns"], [c["name"] for c in inspector.get_columns("residents")])
    print([(key["constrained_columns"], key["referred_table"]) for key in inspector.get_foreign_keys("stays")])


PARTS = (units_of_work, queries, relationships, in_bulk, transactions, streamed, reflected)


def run(session, part):
    try:
        part(session)
    except DBAPIError as error:
        print("FAILED", part.__name__, error.orig, str(error.statement)[:200])
        session.rollback()


def synchronous():
    engine = sa.create_engine(URL.replace("postgresql:", "postgresql+psycopg:"), pool_size=2)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    for part in PARTS:
        with Session(engine) as session:
            run(session, part)
    Base.metadata.drop_all(engine)


async def asynchronous():
    engine = create_async_engine(URL.replace("postgresql:", "postgresql+asyncpg:"), pool_size=2)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    for part in PARTS:
        async with AsyncSession(engine) as session:
            await session.run_sync(run, part)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


synchronous() if sys.argv[1] == "psycopg" else asyncio.run(asynchronous())
