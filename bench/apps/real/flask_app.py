"""The views in Flask, with SQL as TechEmpower's Flask application has it."""

import contextlib
import sqlite3
import threading

from flask import Flask, Response, jsonify, redirect, render_template, request, session

from real import kinds

# As many as threads that may ask at the same time, and some more.
POOL = 20


class PostgreSQL:
    """psycopg's pool."""

    mark = "%s"

    def __init__(self):
        from psycopg_pool import ConnectionPool

        self._pool = ConnectionPool(
            kinds.SETTINGS["postgresql"], min_size=4, max_size=POOL, open=True
        )

    @contextlib.contextmanager
    def cursor(self):
        with self._pool.connection() as connection, connection.cursor() as cursor:
            yield cursor

    updating = cursor


class SQLite:
    """A connection for each thread."""

    mark = "?"

    def __init__(self):
        self._local = threading.local()

    def _connection(self):
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(kinds.SETTINGS["sqlite"], timeout=30, isolation_level=None)
            connection.execute("PRAGMA synchronous = OFF")
            self._local.connection = connection
        return self._local.connection

    @contextlib.contextmanager
    def cursor(self):
        with contextlib.closing(self._connection().cursor()) as cursor:
            yield cursor

    @contextlib.contextmanager
    def updating(self):
        """A transaction that holds the lock for writing from its begin, so that it cannot fail in
        the middle.
        """
        with self.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            yield cursor
            cursor.execute("COMMIT")


def make(database):
    """The application on the named database."""
    application = Flask(__name__, template_folder=kinds.TEMPLATES)
    application.secret_key = "of the bench"
    _add_simple_views(application)
    _add_database_views(application, {"postgresql": PostgreSQL, "sqlite": SQLite}[database]())
    return application


def _add_simple_views(application):
    @application.get("/plaintext")
    def plaintext():
        return Response(b"Hello, world!", mimetype="text/plain")

    @application.get("/json")
    def json():
        return jsonify(**kinds.MESSAGE)

    @application.post("/upload")
    def upload():
        sent = request.files["document"]
        return jsonify(title=request.form["title"], size=len(sent.read()))

    @application.get("/report")
    def report():
        return Response(kinds.report(), mimetype="text/csv")

    @application.get("/service")
    def service():
        return jsonify(answer=kinds.call_service())

    @application.get("/compute")
    def compute():
        kinds.compute()
        return jsonify(done=True)


def _add_database_views(application, database):
    select = f"SELECT id, value FROM world WHERE id = {database.mark}"
    update = f"UPDATE world SET value = {database.mark} WHERE id = {database.mark}"
    select_account = f"SELECT password FROM account WHERE name = {database.mark}"

    def world(cursor, key):
        found = cursor.execute(select, (key,)).fetchone()
        return {"id": found[0], "value": found[1]}

    @application.get("/query")
    def query():
        with database.cursor() as cursor:
            found = world(cursor, kinds.random_ids(1)[0])
        return jsonify(found)

    @application.get("/queries")
    def queries():
        with database.cursor() as cursor:
            found = [world(cursor, key) for key in kinds.random_ids(kinds.MANY)]
        return jsonify(found)

    @application.get("/updates")
    def updates():
        with database.updating() as cursor:
            found = [world(cursor, key) for key in kinds.random_ids(kinds.UPDATED)]
            for row in found:
                row["value"] = kinds.random_value()
            cursor.executemany(update, [(row["value"], row["id"]) for row in found])
        return jsonify(found)

    @application.get("/fortunes")
    def fortunes():
        with database.cursor() as cursor:
            found = cursor.execute("SELECT id, message FROM fortune").fetchall()
        rows = [{"id": key, "message": message} for key, message in found]
        rows.append({"id": 0, "message": kinds.ADDED_FORTUNE})
        rows.sort(key=lambda row: row["message"])
        return render_template("fortunes.html", fortunes=rows)

    @application.post("/login")
    def login():
        with database.cursor() as cursor:
            found = cursor.execute(select_account, (request.form["name"],)).fetchone()
        if not found or not kinds.is_password(request.form["password"], found[0]):
            return "wrong name or password", 403
        session["name"] = request.form["name"]
        return redirect("/json", 303)
