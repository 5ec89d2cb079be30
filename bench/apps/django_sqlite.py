"""The real application in Django on SQLite."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from real import django_app

application = django_app.make("sqlite")
