"""The views in Django, with its ORM and most of the middleware of a new project."""

import django
from django.conf import settings

from real import kinds

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def _postgresql():
    words = dict(word.split("=") for word in kinds.SETTINGS["postgresql"].split())
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": words["dbname"],
        "USER": words["user"],
        "HOST": words["host"],
    }


def _sqlite():
    options = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA synchronous = OFF",
    }
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": kinds.SETTINGS["sqlite"],
        "OPTIONS": options,
    }


def make(database):
    """The application on the named database; only one in a process."""
    # None: a connection is never closed because of its age.
    connection = {
        "CONN_MAX_AGE": None,
        **{"postgresql": _postgresql, "sqlite": _sqlite}[database](),
    }
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": connection},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        MIDDLEWARE=MIDDLEWARE,
        ROOT_URLCONF="real.django_views",
        SECRET_KEY="of the bench",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [kinds.TEMPLATES],
            }
        ],
        USE_TZ=True,
    )
    django.setup()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()
