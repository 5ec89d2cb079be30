"""Access that Python functions decide: WSGIAccessScript, WSGIAuthUserScript, WSGIAuthGroupScript,
WSGIGroupAuthoritative. What becomes of the daemon that is asked is in tests/httpd/test_protect.py.
"""

from __future__ import annotations

import pytest
from dropinenv import differs
from httpdenv.client import curl, has_http2_curl
from httpdenv.waiting import wait_until
from requests.auth import HTTPDigestAuth

CONFIGURATION = """
LogLevel auth_basic:crit auth_digest:crit authz_core:crit
AliasMatch ^/(basic|digest|group|banned|access|cached|form|htpasswd|forgotten|broken|aliased) ${FILES}/page.txt
WSGIScriptAlias /app ${FILES}/app.wsgi
CustomLog logs/users "%u %U"
<LocationMatch "^/(basic|group|banned|cached|app|aliased)">
    AuthType Basic
    AuthName "Top Secret"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/protect.py application-group=%{GLOBAL}
    Require valid-user
</LocationMatch>
<Location /group>
    AuthMerging Off
    WSGIAuthGroupScript ${FILES}/protect.py application-group=%{GLOBAL}
    Require wsgi-group others secret-agents
</Location>
<Location /group/words>
    Require wsgi-group "two words"
</Location>
<Location /group/utf8>
    Require wsgi-group café
</Location>
<Location /group/case>
    Require wsgi-group Secret-Agents
</Location>
<Location /group/none>
    Require wsgi-group others
</Location>
<Location /group/on>
    WSGIGroupAuthoritative On
</Location>
<Location /group/off>
    WSGIGroupAuthoritative Off
    <RequireAny>
        Require wsgi-group others
        Require user jones
    </RequireAny>
</Location>
<Location /banned>
    WSGIAuthGroupScript ${FILES}/protect.py
    <RequireAll>
        Require valid-user
        Require not wsgi-group secret-agents
    </RequireAll>
</Location>
<Location /htpasswd>
    AuthType Basic
    AuthName "Top Secret"
    AuthBasicProvider file
    AuthUserFile ${FILES}/passwords
    WSGIAuthGroupScript ${FILES}/protect.py
    Require wsgi-group secret-agents
</Location>
<Location /forgotten>
    AuthType Basic
    AuthName "Top Secret"
    AuthBasicProvider wsgi
    Require valid-user
</Location>
<Location /broken>
    AuthType Basic
    AuthName "Top Secret"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/broken.py
    Require valid-user
</Location>
<AuthnProviderAlias wsgi passwords>
    WSGIAuthUserScript ${FILES}/protect.py
</AuthnProviderAlias>
<Location /aliased>
    AuthBasicProvider passwords
</Location>
<Location /digest>
    AuthType Digest
    AuthName "Top Secret"
    AuthDigestProvider wsgi
    WSGIAuthUserScript ${FILES}/protect.py
    Require valid-user
</Location>
<Location /access>
    WSGIAccessScript ${FILES}/protect.py
    Require all granted
</Location>
AuthnCacheEnable
AuthnCacheSOCache shmcb
<Location /cached>
    AuthBasicProvider socache wsgi
    AuthnCacheProvideFor wsgi
</Location>
SetEnv SET_BY_SETENV 1
SetEnvIf Request_URI . SET_BY_SETENVIF=1
<VirtualHost 127.0.0.1:${PORT}>
    Protocols h2c http/1.1
</VirtualHost>
<VirtualHost 127.0.0.1:${TLS_PORT}>
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
</VirtualHost>
"""
PROTECT = """
import hashlib

REALM = "Top Secret"
RESULTS = {
    "one": 1, "empty": "", "list": ["spy"], "iterator": iter([True]), "renamed": "spy",
    "text": "j\\xfcrgen", "wide": "\\u0141ukasz",
}

def check_password(environ, user, password):
    if user == "j\\xc3\\xbcrgen":  # UTF-8, as a native string
        return password == "\\xc3\\xa4"
    if user == "keys":
        environ["wsgi.errors"].write("keys %s\\n" % " ".join(sorted(environ)))
        values = [environ.get(key, "-") or "''" for key in environ["QUERY_STRING"].split("&")]
        environ["wsgi.errors"].write("values %s\\n" % " ".join(values))
        return True
    if user == "counted":
        environ["wsgi.errors"].write("was asked\\n")
    if user == "raises":
        raise ValueError("no")
    if user in ("spy", "jones", "counted", "smith", "error", "string", "number"):
        return password == "secret"
    return RESULTS.get(user)

def get_realm_hash(environ, user, realm):
    if user == "raises":
        raise ValueError("no")
    known = hashlib.md5(f"{user}:{realm}:secret".encode()).hexdigest()
    return {"spy": known, "bytes": known.encode(), "empty": "", "one": 1}.get(user)

def groups_for_user(environ, user):
    if user == "error":
        raise ValueError("no")
    if user == "string":
        return 5
    if user == "number":
        return [5]
    return ["secret-agents", b"two words", "caf\\xe9".encode()] if user == "spy" else []

def allow_access(environ, host):
    wanted = environ["QUERY_STRING"]
    if wanted == "host":
        return host == "127.0.0.1"
    if wanted == "cookie":
        return "key=open" in environ.get("HTTP_COOKIE", "")
    if wanted == "raises":
        raise ValueError("no")
    if wanted == "tls":
        version = environ["mod_ssl.var_lookup"]("SSL_PROTOCOL")
        return bool(environ["mod_ssl.is_https"]()) and version.startswith("TLS")
    return {"yes": True, "no": False, "one": 1, "text": "yes", "list": []}.get(wanted)
"""
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [environ["REMOTE_USER"].encode("latin-1"), b" ", environ["AUTH_TYPE"].encode()]
"""
FILES = {
    "page.txt": "the page\n",
    "protect.py": PROTECT,
    "broken.py": "import no_such_module",
    "app.wsgi": APP,
    "passwords": "spy:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\njones:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
}
MODULES = (
    *("auth_basic", "auth_digest", "authn_file", "authn_socache", "socache_shmcb"),
    *("authz_user", "http2", "ssl"),
)
ANY = ("WSGID", "Traceback", "AH0")


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files=FILES, modules=MODULES)


def status(httpd, path, user=None, password="secret", **options) -> int:
    auth = (user.encode(), password.encode()) if user else None
    with httpd.log.allows(*ANY):
        return httpd.get(path, auth=auth, **options).status_code


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("spy", "secret", 200),
        ("spy", "Secret", 401),
        ("spy", "", 401),
        ("jürgen", "ä", 200),
        ("jürgen", "a", 401),
        ("nobody", "secret", 401),
        ("renamed", "any", 200),
        (None, "", 401),
    ],
)
@pytest.mark.parametrize("path", ["/basic", "/aliased"])
def test_a_password_is_what_check_password_says(httpd, path, user, password, expected):
    assert status(httpd, path, user, password) == expected


@pytest.mark.parametrize("user", ["raises", "one", "empty", "list", "iterator"])
def test_what_check_password_must_not_return_is_an_error(httpd, user):
    assert status(httpd, "/basic", user) == 500


@pytest.mark.parametrize("path", ["/forgotten", "/broken"])
def test_without_a_function_there_is_no_access(httpd, path):
    assert status(httpd, path, "spy") == 500


@pytest.mark.parametrize(
    ("user", "name"),
    [("spy", "spy"), ("renamed", "spy"), ("text", "jürgen"), ("wide", "Łukasz")],
)
def test_the_user_s_name_is_the_one_that_check_password_returns(httpd, user, name):
    answer = httpd.get("/app", auth=(user, "secret"))
    answer.encoding = "utf-8"
    assert answer.text == name + " Basic"


def test_the_access_log_has_the_name_that_check_password_returns(httpd):
    assert status(httpd, "/basic/logged", "renamed") == 200
    log = httpd.root / "logs" / "users"
    wait_until(lambda: "spy /basic/logged" in log.read_text().splitlines(), lambda: log.read_text())


def test_the_environ_of_a_function(httpd):
    names = "SCRIPT_NAME&PATH_INFO&REQUEST_URI&REMOTE_ADDR&REQUEST_METHOD&DOCUMENT_ROOT"
    headers = {"X-Own": "1"}
    with httpd.log.expects("keys ", "values ") as found:
        assert httpd.get("/basic?" + names, auth=("keys", "x"), headers=headers).status_code == 200
    keys, values = ([*record.message.split()] for record in found)
    both = (
        "DOCUMENT_ROOT HTTP_X_OWN PATH_INFO QUERY_STRING REMOTE_ADDR REMOTE_PORT REQUEST_METHOD "
        "REQUEST_URI SCRIPT_NAME SERVER_ADDR SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE "
        "apache.version mod_ssl.is_https mod_ssl.var_lookup mod_wsgi.application_group "
        "mod_wsgi.process_group mod_wsgi.version wsgi.errors"
    )
    assert not {*both.split()} - {*keys}
    assert not {"SET_BY_SETENV", "HTTP_AUTHORIZATION", "wsgi.input"} & {*keys}
    see = "the `environ` of these functions"
    more = {"SCRIPT_FILENAME", "SET_BY_SETENVIF"} & {*keys}
    assert more == differs(httpd, see, wsgid={"SCRIPT_FILENAME", "SET_BY_SETENVIF"}, mod_wsgi=set())
    start = values.index("values") + 1
    assert values[start:] == [
        *("/basic", "''", "/basic?" + names, "127.0.0.1", "GET", str(httpd.files)),
    ]


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("/group", "spy", 200),
        ("/group", "jones", 401),
        ("/group", None, 401),
        ("/group/words", "spy", 200),
        ("/group/utf8", "spy", 200),
        ("/group/case", "spy", 200),
        ("/group/none", "spy", 401),
        ("/group/on", "spy", 200),
        ("/group/on", "jones", 401),
        ("/group/off", "jones", 200),
        ("/group/off", "smith", 401),
        ("/banned", "jones", 200),
        ("/banned", "spy", 401),
        ("/banned", None, 401),
        ("/htpasswd", "spy", 200),
        ("/htpasswd", "jones", 401),
        ("/htpasswd", "smith", 401),
    ],
)
def test_groups_are_what_groups_for_user_says(httpd, path, user, expected):
    assert status(httpd, path, user) == expected


@pytest.mark.parametrize("user", ["error", "string", "number"])
def test_groups_without_an_answer(httpd, user):
    see = "a function that raises, or returns something else"
    assert status(httpd, "/group", user) == differs(httpd, see, wsgid=500, mod_wsgi=401)
    # What is no answer must not let in whom a group keeps out.
    assert status(httpd, "/banned", user) == differs(httpd, see, wsgid=500, mod_wsgi=200)


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("spy", "secret", 200),
        ("bytes", "secret", 200),
        ("spy", "wrong", 401),
        ("nobody", "x", 401),
        ("one", "x", 500),
        ("empty", "x", 500),
        ("raises", "x", 500),
    ],
)
def test_digest(httpd, user, password, expected):
    with httpd.log.allows(*ANY):
        answer = httpd.get("/digest", auth=HTTPDigestAuth(user, password))
    assert answer.status_code == expected


@pytest.mark.parametrize(
    ("query", "expected"), [("yes", 200), ("host", 200), ("no", 403), ("cookie", 403)]
)
def test_access_is_what_allow_access_says(httpd, query, expected):
    assert status(httpd, "/access?" + query) == expected


def test_allow_access_sees_the_headers(httpd):
    assert status(httpd, "/access?cookie", headers={"Cookie": "key=open"}) == 200


@pytest.mark.parametrize("query", ["raises", "one", "text", "list"])
def test_access_without_an_answer(httpd, query):
    see = "a function that raises, or returns something else"
    expected = differs(httpd, see, wsgid=500, mod_wsgi=403)
    assert status(httpd, "/access?" + query) == expected


def test_a_function_that_forgets_to_answer(httpd):
    see = "`allow_access()` that returns None"
    assert status(httpd, "/access?nothing") == differs(httpd, see, wsgid=500, mod_wsgi=200)


def test_functions_ask_mod_ssl_about_the_connection(httpd):
    assert status(httpd, "/access?tls") == 403
    assert status(httpd, "/access?tls", port="TLS_PORT", scheme="https", verify=False) == 200


def test_right_passwords_are_cached_and_wrong_ones_are_not(httpd):
    with httpd.log.expects("was asked"):
        assert status(httpd, "/cached", "counted") == 200
    since = httpd.log.mark()
    found = [status(httpd, "/cached", "counted") for _ in range(5)]
    asked = len(httpd.log.find("was asked", since))
    see = "mod_authn_socache"
    assert (found, asked) == ([200] * 5, differs(httpd, see, wsgid=0, mod_wsgi=5))
    assert status(httpd, "/cached", "counted", "wrong") == 401


@pytest.mark.skipif(not has_http2_curl(), reason="curl without HTTP/2")
def test_HTTP_2(httpd):
    options = ["--http2-prior-knowledge", "-u"]
    assert curl(httpd.url("/basic"), *options, "spy:secret") == (200, "2", b"the page\n")
    assert curl(httpd.url("/basic"), *options, "spy:wrong")[:2] == (401, "2")
    assert curl(httpd.url("/access?host"), "--http2-prior-knowledge")[:2] == (200, "2")
    with httpd.log.allows(*ANY):
        assert curl(httpd.url("/basic"), *options, "raises:secret")[0] == 500
