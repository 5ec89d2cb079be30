"""A small real application: Flask, a psycopg connection pool, PostgreSQL, a Jinja template.

/json computes, /query queries the database once, /queries 20 times, /page renders a table after one
query. The file `database` beside this one holds the connection string.
"""

import os
import random

from flask import Flask, jsonify, render_template_string
from psycopg_pool import ConnectionPool

ROWS = 10000
PAGE = """<!doctype html><title>{{ title }}</title><table>
{% for row in rows %}<tr><td>{{ row[0] }}</td><td>{{ row[1]|upper }}</td></tr>
{% endfor %}</table>"""

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "database")) as file:
    DATABASE = file.read().strip()

application = Flask(__name__)
pool = ConnectionPool(DATABASE, min_size=4, max_size=20, open=True)


def world(cursor):
    """One row by its key."""
    return cursor.execute(
        "SELECT id, value FROM world WHERE id = %s", (random.randint(1, ROWS),)
    ).fetchone()


@application.get("/json")
def json_view():
    return jsonify(message="Hello, world!", numbers=list(range(20)))


@application.get("/query")
def query():
    with pool.connection() as connection, connection.cursor() as cursor:
        found = world(cursor)
    return jsonify(id=found[0], value=found[1])


@application.get("/queries")
def queries():
    with pool.connection() as connection, connection.cursor() as cursor:
        found = [world(cursor) for _ in range(20)]
    return jsonify([{"id": key, "value": value} for key, value in found])


@application.get("/page")
def page():
    with pool.connection() as connection, connection.cursor() as cursor:
        rows = cursor.execute(
            "SELECT id, name FROM fortune WHERE id <= 40 ORDER BY name"
        ).fetchall()
    return render_template_string(PAGE, title="Fortunes", rows=rows)
