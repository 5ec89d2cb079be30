"""Unmodified applications from PyPI, each in a virtual environment with nothing of ours in it, all
in one httpd.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess

import pytest
from httpdenv import Httpd, machine, pythons

CONFIGURATION = """
WSGIDaemonProcess flask python-home=@FLASK@
WSGIDaemonProcess django python-home=@DJANGO@ python-path=${APPS}/django_site env=DJANGO_DATA=@DATA@
WSGIDaemonProcess httpbin python-home=@HTTPBIN@
WSGIDaemonProcess builder
@OTHER_GROUP@

WSGIScriptAlias /flask ${APPS}/flask_site.wsgi process-name=flask
WSGIScriptAlias /httpbin ${APPS}/httpbin_site.wsgi process-name=httpbin
WSGIScriptAlias /builder ${APPS}/whoami.wsgi process-name=builder
@OTHER_ALIAS@
WSGIScriptAlias /django ${APPS}/django_site/project/wsgi.py process-name=django
LogLevel auth_basic:crit authz_core:crit
AliasMatch ^/django-files ${FILES}/page.txt
<Location /django-files>
    AuthType Basic
    AuthName "Django"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${APPS}/django_site/project/auth.py process-group=django
    WSGIAuthGroupScript ${APPS}/django_site/project/auth.py process-group=django
    Require valid-user
</Location>
<Location /django-files/others>
    Require wsgi-group others
</Location>
<Location /django-files/editors>
    Require wsgi-group éditeurs
</Location>
"""
OTHER_GROUP = "WSGIDaemonProcess other python-home=@OTHER@"
OTHER_ALIAS = "WSGIScriptAlias /other ${APPS}/markupsafe_site.wsgi process-name=other"

UPLOAD = 50 * 1024 * 1024
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def system_python():
    python = pythons.for_daemons()
    if python is None:
        pytest.skip("no Python >= 3.10 on this machine that the daemons' user can reach")
    return python


@pytest.fixture(scope="module")
def data():
    """A directory that only the daemons' user can write to, as a database needs it."""
    path = machine.temporary_directory("wsgid-data-")
    if os.geteuid() == 0:
        os.chown(path, machine.user_id(machine.web_user()), -1)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def prepare_django(home, site, data) -> None:
    """The database and an administrator, made as the daemons' user."""
    environment = {
        "DJANGO_DATA": str(data),
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": "/usr/bin:/bin",
    }
    who = {"user": machine.web_user(), "extra_groups": []} if os.geteuid() == 0 else {}
    create = ["createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.org"]
    join = "Group.objects.create(name='éditeurs').user_set.add(User.objects.get())"
    join = ["shell", "-c", "from django.contrib.auth.models import Group, User; " + join]
    for words in (["migrate", "--verbosity", "0"], create, join):
        command = [home / "bin" / "python", "-m", "django", *words]
        done = subprocess.run(
            command, env=environment, cwd=data, capture_output=True, text=True, check=False, **who
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def other_python(stage):
    """An interpreter of a version other than the module's default."""
    return pythons.for_daemons(other_than=default_version(stage))


def default_version(stage) -> tuple[int, int]:
    """The Python version of a group without python=, as reported by the module."""
    httpd = Httpd("WSGIScriptAlias / ${APPS}/whoami.wsgi", stage)
    try:
        version = httpd.start().get("/").json()["version"]
        httpd.stop()
    finally:
        httpd.remove()
    return version[0], version[1]


@pytest.fixture(scope="module")
def httpd(make_httpd, stage, system_python, other_python, data):
    django = pythons.virtualenv(system_python, "django>=4.2")
    words = {
        "FLASK": pythons.virtualenv(system_python, "flask>=3"),
        "DJANGO": django,
        "HTTPBIN": pythons.virtualenv(system_python, "httpbin>=0.10.2"),
        "DATA": data,
        "OTHER_GROUP": OTHER_GROUP if other_python else "",
        "OTHER_ALIAS": OTHER_ALIAS if other_python else "",
        "OTHER": pythons.virtualenv(other_python, "markupsafe") if other_python else "",
    }
    prepare_django(django, stage.apps / "django_site", data)
    text = CONFIGURATION
    for word, value in words.items():  # in this order, because OTHER is part of OTHER_GROUP
        text = text.replace(f"@{word}@", str(value))
    server = make_httpd(text, modules=["auth_basic", "authz_user"], files={"page.txt": "page"})
    server.log.wait_for("group 'httpbin': ready", timeout=30)
    server.log.accept_all(
        "flasgger is not installed"
    )  # some versions of httpbin warn about themselves
    return server


# -------- Flask


def test_flask_routes(httpd):
    assert httpd.get("/flask/").text == f"Hello from {httpd.url('/flask/')}"
    assert httpd.get("/flask/user/Zo%C3%AB/7?a=1").json() == {
        "name": "Zoë",
        "number": 7,
        "query": {"a": "1"},
    }


def test_flask_form_redirect_and_session(httpd):
    with httpd.session() as session:
        assert "<form" in session.get(httpd.url("/flask/form"), timeout=10).text
        answer = session.post(httpd.url("/flask/form"), data={"name": "Ada & Grace"}, timeout=10)
    assert answer.text == "Hello Ada & Grace"
    assert [step.status_code for step in answer.history] == [302]


def test_flask_upload(httpd):
    content = os.urandom(3_000_000)
    answer = httpd.post("/flask/upload", files={"file": ("a name.bin", content)}).json()
    assert answer == {
        "name": "a name.bin",
        "size": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
    }


def test_flask_streaming(httpd):
    assert httpd.get("/flask/stream").text == "".join(f"line {number}\n" for number in range(1000))


def test_flask_error_pages(httpd):
    assert httpd.get("/flask/nothing").text == "a page of the application's own"
    assert httpd.get("/flask/teapot").status_code == 418


def test_a_flask_view_that_fails_is_a_500_with_its_traceback_in_the_log(httpd):
    """Through Flask's own logging: at error, with the request's id, and once."""
    since = httpd.log.mark()
    with httpd.log.expects("Exception on /broken") as lines:
        assert httpd.get("/flask/broken").status_code == 500
    assert "Traceback" in lines[0].text and lines[0].text.endswith("ValueError: broken on purpose")
    assert lines[0].level == "error"
    assert re.match(r"\[client \S+\] \[request \S+\] \S+: Exception", lines[0].text)
    assert len(httpd.log.find("broken on purpose", since)) == 1


# -------- Django


def token_of(page: str) -> str:
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]


def log_in(httpd, session, password: str = PASSWORD):
    """Logs in through the form of the admin."""
    url = httpd.url("/django/admin/login/?next=/django/admin/")
    page = session.get(url, timeout=20)
    form = {
        "username": "admin",
        "password": password,
        "csrfmiddlewaretoken": token_of(page.text),
        "next": "/django/admin/",
    }
    return session.post(url, data=form, headers={"Referer": url}, timeout=20)


def test_django_admin_login_with_session_and_csrf(httpd):
    with httpd.session() as session:
        answer = log_in(httpd, session)
        assert answer.status_code == 200
        assert "Site administration" in answer.text
        assert "sessionid" in session.cookies
        assert (
            "Select user to change"
            in session.get(httpd.url("/django/admin/auth/user/"), timeout=20).text
        )


def test_django_admin_refuses_a_wrong_password(httpd):
    with httpd.session() as session:
        assert "Please enter the correct username" in log_in(httpd, session, "wrong").text


@pytest.mark.parametrize(
    ("path", "user", "password", "status"),
    [
        ("", "admin", PASSWORD, 200),
        ("", "admin", "wrong", 401),
        ("", "nobody", PASSWORD, 401),
        ("/editors", "admin", PASSWORD, 200),
        ("/others", "admin", PASSWORD, 401),
    ],
)
def test_django_handler_of_mod_wsgi_decides_about_files(httpd, path, user, password, status):
    answer = httpd.get("/django-files" + path, auth=(user, password))
    assert answer.status_code == status


def test_django_refuses_a_post_without_the_csrf_token(httpd):
    with httpd.log.expects("django.security.csrf: Forbidden") as lines:
        answer = httpd.post("/django/admin/login/", {"username": "admin", "password": PASSWORD})
    assert (answer.status_code, lines[0].level) == (403, "warn")


def test_django_admin_adds_a_user(httpd):
    with httpd.session() as session:
        log_in(httpd, session)
        url = httpd.url("/django/admin/auth/user/add/")
        form = {
            "csrfmiddlewaretoken": token_of(session.get(url, timeout=20).text),
            "username": "another",
            "password1": PASSWORD,
            "password2": PASSWORD,
            "usable_password": "true",
        }
        answer = session.post(url, data=form, headers={"Referer": url}, timeout=20)
        assert "was added successfully" in answer.text


def test_django_upload_of_50_mb_is_checked_by_digest(httpd):
    content = os.urandom(1024 * 1024) * (UPLOAD // (1024 * 1024))
    with httpd.session() as session:
        url = httpd.url("/django/upload/")
        token = token_of(session.get(url, timeout=20).text)
        files = {"file": ("large.bin", content)}
        answer = session.post(
            url, data={"csrfmiddlewaretoken": token}, files=files, timeout=120
        ).json()
    assert answer == {
        "name": "large.bin",
        "size": UPLOAD,
        "digest": hashlib.sha256(content).hexdigest(),
    }


def test_django_streaming_download(httpd):
    blocks = 320  # 20 MiB
    with (
        httpd.session() as session,
        session.get(httpd.url(f"/django/download/{blocks}/"), stream=True, timeout=60) as answer,
    ):
        digest = hashlib.sha256()
        for piece in answer.iter_content(65536):
            digest.update(piece)
    expected = hashlib.sha256(b"".join(bytes([number & 255]) * 65536 for number in range(blocks)))
    assert digest.hexdigest() == expected.hexdigest()


def test_a_django_view_that_fails_is_a_500_with_its_traceback_in_the_log(httpd):
    """DEBUG is off, so Django's default LOGGING only sends mail."""
    since = httpd.log.mark()
    with httpd.log.expects("django.request: Internal Server Error: /django/broken/") as lines:
        assert httpd.get("/django/broken/").status_code == 500
    assert "Traceback" in lines[0].text and lines[0].text.endswith("ValueError: broken on purpose")
    assert lines[0].level == "error"
    assert re.match(r"\[client \S+\] \[request \S+\] ", lines[0].text)
    assert len(httpd.log.find("broken on purpose", since)) == 1


# -------- httpbin


def test_httpbin_get_and_headers(httpd):
    answer = httpd.get("/httpbin/get?a=1&a=2&b=", headers={"X-Own": "yes"}).json()
    assert answer["args"] == {"a": ["1", "2"], "b": ""}
    assert answer["headers"]["X-Own"] == "yes"


def test_httpbin_post(httpd):
    answer = httpd.post(
        "/httpbin/post", {"field": "välue"}, files={"file": ("f", b"content")}
    ).json()
    assert answer["form"] == {"field": "välue"}
    assert answer["files"] == {"file": "content"}


def test_httpbin_accepts_chunked_bodies(httpd):
    assert (
        httpd.request("PUT", "/httpbin/put", data=iter([b"one ", b"two"])).json()["data"]
        == "one two"
    )


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 418, 500, 503])
def test_httpbin_statuses(httpd, status):
    assert httpd.get(f"/httpbin/status/{status}").status_code == status


def test_httpbin_redirects_and_cookies(httpd):
    with httpd.session() as session:
        assert session.get(httpd.url("/httpbin/relative-redirect/3"), timeout=10).status_code == 200
        answer = session.get(httpd.url("/httpbin/cookies/set?a=1&b=2"), timeout=10)
    assert answer.json() == {"cookies": {"a": "1", "b": "2"}}


def test_httpbin_streams_and_bytes(httpd):
    assert len(httpd.get("/httpbin/stream/20").text.splitlines()) == 20
    assert len(httpd.get("/httpbin/stream-bytes/100000?chunk_size=1000").content) == 100_000
    assert len(httpd.get("/httpbin/drip?numbytes=5&duration=0.2&delay=0").content) == 5


def test_httpbin_encodings(httpd):
    assert httpd.get("/httpbin/gzip").json()["gzipped"] is True
    assert httpd.get("/httpbin/deflate").json()["deflated"] is True
    assert "∮" in httpd.get("/httpbin/encoding/utf8").content.decode()


def test_httpbin_response_headers(httpd):
    answer = httpd.get("/httpbin/response-headers?X-One=1&X-One=2&Content-Type=text/plain")
    assert answer.headers["X-One"] == "1, 2"


# -------- another Python


def test_another_python_version_is_served_from_its_virtualenv_in_the_same_httpd(
    httpd, other_python
):
    if other_python is None:
        pytest.skip(
            "this machine has one version of Python >= 3.10 that the daemons' user can reach, and no other"
        )
    seen = httpd.get("/other").json()
    builder = httpd.get("/builder").json()
    assert seen["version"] == list(other_python.version)
    assert seen["version"] != builder["version"][:2]
    assert seen["escaped"] == "&lt;b&gt;"
    assert seen["package"].startswith(seen["prefix"])
    assert seen["compiled"]


def test_nothing_of_ours_is_installed_in_the_virtualenvs(httpd, other_python, system_python):
    homes = [
        pythons.virtualenv(system_python, "flask>=3"),
        pythons.virtualenv(system_python, "django>=4.2"),
    ]
    if other_python:
        homes.append(pythons.virtualenv(other_python, "markupsafe"))
    for home in homes:
        assert list(home.glob("lib/python3*/site-packages/*wsgid*")) == []


SITE = """
import os
NAMED
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
SETTINGS = """
SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF = "x", ["*"], __name__
urlpatterns = []
"""


@pytest.mark.parametrize("way", ["os.environ[{0}] = {1}", "os.environ.setdefault({0}, {1})"])
def test_two_django_sites_in_one_application_group_do_not_answer_for_each_other(
    make_httpd, system_python, way
):
    files = {}
    for site in ("shop", "blog"):
        names = way.format("'DJANGO_SETTINGS_MODULE'", f"'{site}_settings'")
        files[f"{site}.wsgi"] = SITE.replace("NAMED", names)
        files[f"{site}_settings.py"] = SETTINGS
    home = pythons.virtualenv(system_python, "django>=4.2")
    httpd = make_httpd(
        f"WSGIDaemonProcess sites python-home={home} python-path=${{FILES}}\nWSGIProcessName sites\n"
        "WSGIScriptAlias /shop ${FILES}/shop.wsgi\nWSGIScriptAlias /blog ${FILES}/blog.wsgi\n",
        files=files,
    )
    with httpd.log.expects("WSGID0339.*blog.wsgi.*blog_settings.*shop_settings.*ApplicationGroup"):
        assert httpd.get("/shop/").status_code == 404
        assert httpd.get("/blog/").status_code == 500
    httpd.log.accept_all("WSGID0335.*WSGIApplicationGroup|Not Found")


DJANGO = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.dirname(__file__)))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
VIEWS = """
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse(settings.SITE))]
"""


def django_project(name: str) -> dict[str, str]:
    """As startproject lays it out: two such projects have modules of the same names."""
    settings = (
        f"SITE, SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF = {name!r}, 'x', ['*'], 'config.urls'"
    )
    texts = {"__init__": "", "wsgi": DJANGO, "settings": settings, "urls": VIEWS}
    return {f"{name}/config/{file}.py": text for file, text in texts.items()}


def serve_two_projects(make_httpd, system_python, order, together):
    home = pythons.virtualenv(system_python, "django>=4.2")
    aliases = [f"WSGIScriptAlias /{name} ${{FILES}}/{name}/config/wsgi.py" for name in order]
    return make_httpd(
        f"WSGIDaemonProcess sites python-home={home}\nWSGIProcessName sites\n" + "\n".join(aliases),
        files=django_project("shop") | django_project("blog"),
        together=together,
    )


@pytest.mark.parametrize("order", [("shop", "blog"), ("blog", "shop")])
def test_two_django_projects_in_one_daemon_group_just_work(make_httpd, system_python, order):
    httpd = serve_two_projects(make_httpd, system_python, order, together=False)
    for name in (*order, *reversed(order)):
        assert httpd.get(f"/{name}/").text == name


def test_two_django_projects_with_the_same_names_in_one_application_group_are_reported(
    make_httpd, system_python
):
    """Their settings have the same name, so nothing but the files tells them apart."""
    httpd = serve_two_projects(make_httpd, system_python, ("shop", "blog"), together=True)
    with httpd.log.allows("WSGID0379"):
        assert httpd.get("/blog/").status_code == 200
    (record,) = httpd.log.find("WSGID0379")
    assert re.search("'config' and gets .*/shop/.* in the place of .*/blog/", record.text)
    httpd.log.accept_all("WSGID0379")
