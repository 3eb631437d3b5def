"""A small clinic on the web: staff log in, see their patients, write visits and invoices.

Flask, SQLAlchemy's ORM and connection pool, psycopg 3, row-level security on `app.current_user`. The
database it uses is DATABASE_URL; it listens on PORT of the loopback interface.
"""

import datetime
import decimal
import os

import waitress
from flask import Flask, abort, g, jsonify, redirect, render_template, request, session
from sqlalchemy import ForeignKey, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload
from werkzeug.security import check_password_hash

engine = create_engine(os.environ["DATABASE_URL"], pool_size=4, max_overflow=0)
app = Flask(__name__)
app.secret_key = os.urandom(32)
app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax")


class Base(DeclarativeBase):
    pass


class Staff(Base):
    __tablename__ = "staff"
    login: Mapped[str] = mapped_column(primary_key=True)
    password: Mapped[str]
    job: Mapped[str]


class Patient(Base):
    __tablename__ = "patients"
    id: Mapped[int] = mapped_column(primary_key=True)
    doctor: Mapped[str]
    name: Mapped[str]
    ssn: Mapped[str | None]
    born: Mapped[datetime.date | None]
    visits: Mapped[list["Visit"]] = relationship(order_by="Visit.id")
    invoices: Mapped[list["Invoice"]] = relationship(order_by="Invoice.id")


class Visit(Base):
    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    patient: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    note: Mapped[str]


class Invoice(Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    patient: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    iban: Mapped[str]
    amount: Mapped[decimal.Decimal | None]


@event.listens_for(Session, "after_begin")
def name_the_user(_session, _transaction, connection):
    user = {"user": session.get("user", "")}
    connection.execute(text("SELECT set_config('app.current_user', :user, true)"), user)


@app.before_request
def open_database():
    if request.endpoint not in ("login", "static") and "user" not in session:
        return redirect("/login")
    g.database = Session(engine)
    return None


@app.teardown_request
def close_database(_error):
    if database := g.pop("database", None):
        database.close()


@app.errorhandler(DBAPIError)
def database_says_no(error):
    state = getattr(error.orig, "sqlstate", None) or ""
    refused = state in ("28000", "42501")
    answer = render_template("error.html", refused=refused, state=state)
    return answer, 403 if refused else 500


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        return render_template("login.html")
    person = g.database.get(Staff, request.form["login"])
    if person is None or not check_password_hash(person.password, request.form["password"]):
        return render_template("login.html", wrong=True), 401
    session["user"] = person.login
    return redirect("/")


@app.get("/")
def patients():
    wanted = select(Patient).order_by(Patient.id)
    if ssn := request.args.get("ssn"):
        wanted = wanted.where(Patient.ssn == ssn)
    return render_template("patients.html", user=session["user"], patients=g.database.scalars(wanted).all())


@app.get("/patients/<int:number>")
def patient(number):
    wanted = select(Patient).where(Patient.id == number)
    found = g.database.scalar(wanted.options(selectinload(Patient.visits), selectinload(Patient.invoices)))
    return render_template("patient.html", user=session["user"], patient=found or abort(404))


@app.get("/api/patients")
def patients_as_json():
    found = g.database.scalars(select(Patient).order_by(Patient.id))
    return jsonify([{"name": p.name, "ssn": p.ssn, "born": p.born and p.born.isoformat()} for p in found])


@app.get("/api/invoices")
def invoices_as_json():
    found = g.database.scalars(select(Invoice).order_by(Invoice.id))
    return jsonify([{"iban": i.iban, "amount": i.amount and str(i.amount)} for i in found])


@app.post("/patients")
def add_patient():
    form = request.form
    born = datetime.date.fromisoformat(form["born"]) if form.get("born") else None
    added = Patient(doctor=session["user"], name=form["name"], ssn=form.get("ssn") or None, born=born)
    g.database.add(added)
    g.database.commit()
    return redirect(f"/patients/{added.id}")


@app.post("/patients/<int:number>/visits")
def add_visit(number):
    g.database.add(Visit(patient=number, note=request.form["note"]))
    g.database.commit()
    return redirect(f"/patients/{number}")


@app.post("/patients/<int:number>/invoices")
def add_invoice(number):
    amount = decimal.Decimal(request.form["amount"])
    g.database.add(Invoice(patient=number, iban=request.form["iban"], amount=amount))
    g.database.commit()
    return redirect(f"/patients/{number}")


if __name__ == "__main__":
    print("serving on port", os.environ["PORT"], flush=True)
    waitress.serve(app, listen=f"127.0.0.1:{os.environ['PORT']}", threads=8)
