"""Django's own functions for WSGIAuthUserScript and WSGIAuthGroupScript."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.contrib.auth.handlers.modwsgi import check_password, groups_for_user  # noqa: E402,F401
