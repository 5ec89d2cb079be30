"""The real applications: the same views in Flask and in Django, after the kinds of TechEmpower's
Framework Benchmarks and with some that are missing there.

    kinds.py       what both share: SQL, sizes, the report, the call of the other service
    flask_app.py   Flask, on PostgreSQL with psycopg's pool, or on SQLite
    django_app.py  Django, with persistent connections to PostgreSQL or SQLite
    templates/     read by Jinja and by Django's own engine

The scripts beside this package choose framework and database.
"""
