"""The real application in Flask on SQLite."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from real import flask_app

application = flask_app.make("sqlite")
