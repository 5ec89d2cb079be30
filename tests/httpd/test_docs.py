"""The pages of docs/: httpd reads every configuration and serves every example, every command runs,
and every name in them exists. httpdenv.examples replaces what this machine has under other names."""

from __future__ import annotations

import argparse
import ast
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from httpdenv import Httpd, machine, pythons, wait_until
from httpdenv.examples import (
    CLOSED,
    FIRST_ID,
    MODULES,
    for_this_machine,
    with_certificate,
    with_users,
)
from httpdenv.pages import OTHERS, Page, page, pages
from httpdenv.serving import CHECKOUT, PYTHONPATH, Run, get
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pywsgid.cli import main
from pywsgid.cli.check import command as check
from pywsgid.cli.serve import serve_options
from pywsgid.wire import directives
from pywsgid.wire.options import FOREIGN, OPTIONS

PAGES = pages()
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
MORE_MODULES = [
    *(*MODULES, "proxy", "proxy_http", "alias"),
    *("auth_basic", "authz_user", "authn_socache", "socache_shmcb"),
    *("macro", "vhost_alias", "userdir", "dir"),
]
PLAIN = """\
def application(environ, start_response):
    start_response('200 OK', [])
    return [__file__.encode()]
"""
# Names followed by "=" that belong to httpd.
OF_HTTPD = {"lbmethod", "ttl", "copytruncate"}
OF_ALIASES = {
    "process-name",
    "process-group",
    "callable-object",
    "application-group",
    "pass-authorization",
}


def names(found: list[Page]) -> list[str]:
    return [one.path.name for one in found]


# -------- the text of the pages


@pytest.mark.parametrize("one", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(one):
    for target in re.findall(r"\]\(([^)\s]+)\)", one.prose):
        if not target.startswith(("http:", "https:")):
            assert (one.path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in OTHERS)]
)
def test_links_of_the_other_pages_lead_somewhere(name):
    path = page("README.md").path.parents[1] / name
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    inside = [target.partition("#")[0] for target in targets if not target.startswith("http")]
    assert [target for target in inside if not (path.parent / target).exists()] == []


def test_every_page_is_in_the_index():
    index = page("README.md").text
    assert [name for name in names(PAGES) if f"({name})" not in index and name != "README.md"] == []


@pytest.mark.parametrize("one", PAGES, ids=names(PAGES))
def test_named_directives_and_options_exist(one):
    known = {*directives.DIRECTIVES, *directives.FOREIGN}
    assert set(re.findall(r"\bWSGI[A-Z][A-Za-z]+", one.text)) - {"WSGIDnnnn"} <= known
    options = {
        match[1] for span in one.spans if (match := re.fullmatch(r"([a-z]+(?:-[a-z]+)*)=\S*", span))
    }
    assert options <= {*OPTIONS, *FOREIGN, *OF_ALIASES, *OF_HTTPD}
    codes = set(re.findall(r"WSGID\d{4}", one.text))
    assert codes <= set(re.findall(r"### (WSGID\d{4})", page("errors.md").text))


@pytest.mark.parametrize("one", PAGES, ids=names(PAGES))
def test_python_blocks_compile(one):
    for block in one.blocks:
        if block.language == "python":
            compile(block.text, str(one.path), "exec")


@pytest.mark.parametrize("one", PAGES, ids=names(PAGES))
def test_pywsgid_commands_parse(one):
    commands = [words for words in one.commands if words[0] == "pywsgid"]
    commands += [
        span.split() for span in one.spans if re.match(r"pywsgid (serve|setup|check) [^-]", span)
    ]
    for words in commands:
        assert main.parser().parse_args(words[1:]).command
    for span in one.spans:
        if span.startswith("pywsgid"):
            parser = argparse.ArgumentParser()
            serve_options.declare(parser, "serve")
            check.declare(argparse.ArgumentParser())
            known = parser.format_help()
            assert [word for word in re.findall(r" (--[\w-]+)", span) if word not in known] == []


CONFIGURATIONS = [
    (one.path.name, number) for one in PAGES for number in range(len(one.configurations()))
]


@pytest.mark.parametrize(("name", "number"), CONFIGURATIONS)
def test_configurations_pass_configtest(make_httpd, name, number):
    text = with_certificate(with_users(page(name).configurations()[number]))
    code, output = make_httpd(text, modules=MORE_MODULES, start=None).configtest()
    assert code == 0, output
    assert "WSGID" not in output


# -------- served by httpd


@pytest.fixture
def served(make_httpd) -> Callable[..., Httpd]:
    """Starts an httpd with a configuration of a page, and with the page's files."""

    def serve(
        name: str,
        number: int = 0,
        *,
        files: dict[str, str] | None = None,
        start: bool = True,
        change: Callable[[str], str] = lambda text: text,
        **options,
    ) -> Httpd:
        one = page(name)
        text = CLOSED + for_this_machine(change(one.configurations()[number]))
        contents = {
            path.removeprefix("/"): change(source)
            for path, source in {**one.files, **(files or {})}.items()
        }
        # As a reader has it: each script has processes of its own.
        options = {"together": False, **options}
        httpd = make_httpd(text, modules=MORE_MODULES, files=contents, start=None, **options)
        return httpd.start() if start else httpd

    return serve


def ask(httpd: Httpd, path: str = "/", host: str = "shop.example.com") -> str:
    response = httpd.get(path, headers={"Host": host})
    assert response.status_code == 200, response.text
    return response.text


def virtualenv(httpd: Httpd, name: str, *requirements: str) -> None:
    """FILES/srv/NAME, with packages."""
    python = pythons.for_daemons()
    if python is None:
        pytest.skip("no Python >= 3.10 on this machine that the daemons' user can reach")
    (httpd.files / "srv" / name).symlink_to(pythons.virtualenv(python, *requirements))


def test_first_application(served):
    assert ask(served("first-application.md"), host="hello.example.com") == "Hello!\n"


def test_protecting(served):
    httpd = served("protecting.md", files={"/srv/reports/figures.txt": "figures"})
    with httpd.log.allows("AH01617|AH01618|AH01631|AH01707"):  # those who are not let in
        for auth, status in (
            (("ada", "lovelace"), 200),
            (("ada", "builder"), 401),
            (("bob", "builder"), 401),
            (("eve", ""), 401),
            (None, 401),
        ):
            assert httpd.get("/reports/figures.txt", auth=auth).status_code == status
    httpd = served("protecting.md", 1, files={"/srv/mirror/package": "bytes"})
    assert ask(httpd, "/mirror/package") == "bytes"


def test_flask(served):
    httpd = served("flask.md", start=False)
    virtualenv(httpd, "shop/venv", "flask>=3")
    assert ask(httpd.start(), "/?name=Ada") == "Hello Ada!\n"


def test_django(served):
    httpd = served("django.md", start=False)
    virtualenv(httpd, "shop/venv", "django>=4.2")
    top = httpd.files / "srv" / "shop"
    python = top / "venv" / "bin" / "python"
    settings = (top / "project" / "shop" / "production.py").read_text()
    shutil.rmtree(top / "project")
    (top / "project").mkdir()
    subprocess.run([python, "-m", "django", "startproject", "shop", top / "project"], check=True)
    (top / "project" / "shop" / "production.py").write_text(
        settings.replace("/srv/", f"{httpd.files}/srv/")
    )
    collect = next(words for words in page("django.md").commands if "collectstatic" in words)
    line = " ".join(collect).replace("/srv/", f"{httpd.files}/srv/")
    subprocess.run(["sh", "-c", line], check=True, capture_output=True)
    subprocess.run(["chmod", "-R", "a+rX", top / "project", top / "static"], check=True)
    httpd.start()
    with httpd.log.allows("Not Found"):
        assert httpd.get("/admin/login/", headers={"Host": "shop.example.com"}).status_code == 200
        assert (
            httpd.get("/", headers={"Host": "shop.example.com"}).status_code == 404
        )  # it has no view of its own yet
    with httpd.log.allows("Invalid HTTP_HOST", "Bad Request"):
        assert httpd.get("/", headers={"Host": "other.example.com"}).status_code == 400
    assert "DJANGO" in ask(httpd, "/static/admin/css/base.css")


def test_several_sites(served):
    httpd = served(
        "several-sites.md", files={"/srv/alice/site.wsgi": PLAIN, "/srv/bob/site.wsgi": PLAIN}
    )
    for name in ("alice", "bob"):
        assert ask(httpd, host=f"{name}.example.com").endswith(f"/srv/{name}/site.wsgi")
    httpd = served(
        "several-sites.md", 1, files={"/srv/shop/site.wsgi": PLAIN, "/srv/blog/site.wsgi": PLAIN}
    )
    for path, name in (("/", "shop"), ("/blog", "blog"), ("/blog/x", "blog")):
        assert ask(httpd, path).endswith(f"/srv/{name}/site.wsgi")
    files = {f"/srv/sites/{name}/site.wsgi": PLAIN for name in ("shop", "blog")}
    httpd = served("several-sites.md", 2, files=files)
    for path, name in (("/", "shop"), ("/blog", "blog"), ("/blog/x", "blog")):
        assert ask(httpd, path).endswith(f"/srv/sites/{name}/site.wsgi")
    assert httpd.log.find(r"group 'sites\|[^']*\|/blog': ready")


# -------- hosting.md

WHOAMI = """\
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr((environ['SCRIPT_NAME'], environ['PATH_INFO'], __file__, os.getuid())).encode()]
"""
MACRO, INCLUDE, VHOST_ALIAS, USERDIR = range(4)  # the configurations of the page
USERS = ("alice", "bob")


@pytest.fixture
def hosted(served):
    """Starts an httpd with a configuration of the page. Alice and bob have the same files, of which
    they are the owners.
    """

    def serve(number: int, *names: str, place: str = "srv/sites/{}", start=True, **options):
        files = {f"/{place.format(user)}/{name}": WHOAMI for user in USERS for name in names}
        static = {f"/{place.format(user)}/static/who.txt": user for user in USERS}
        httpd = served("hosting.md", number, files=files | static, start=False, **options)
        for user in USERS:
            give(httpd, place.format(user), user)
        return httpd.start() if start else httpd

    return serve


def id_of(user: str) -> int:
    return FIRST_ID + USERS.index(user) if os.geteuid() == 0 else os.geteuid()


def give(httpd: Httpd, place: str, user: str) -> None:
    for path in (httpd.files / place).rglob("*"):
        os.chown(path, id_of(user), id_of(user) if os.geteuid() == 0 else os.getegid())


def who(httpd: Httpd, path: str, host: str) -> tuple[str, str, str, int]:
    script_name, path_info, file, uid = ast.literal_eval(ask(httpd, path, host))
    return script_name, path_info, file.removeprefix(f"{httpd.files}/"), uid


def test_hosting_with_a_virtual_host_for_each_site(hosted):
    httpd = hosted(MACRO, "site.wsgi")
    assert len(httpd.guardians()) == len(USERS) and httpd.daemons() == []
    for user, host in (("alice", "alice.example.com"), ("bob", "www.bob.example.net")):
        script = f"srv/sites/{user}/site.wsgi"
        assert who(httpd, "/shop/7", host) == ("", "/shop/7", script, id_of(user))
        assert ask(httpd, "/static/who.txt", host) == user
        assert len(httpd.daemons(user)) == 1
        httpd.log_of(f"{user}.error.log").wait_for(f"group '{user}': ready", timeout=10)


def test_a_hosted_site_comes_and_goes_with_its_line(hosted):
    httpd = hosted(MACRO, "site.wsgi", start=False)
    both = (httpd.root / "conf" / "httpd.conf").read_text()
    less = re.sub(r"^Use Site .* bob .*\n", "", both, flags=re.M)
    (httpd.root / "conf" / "httpd.conf").write_text(less)

    def wait_for(user: str) -> None:
        """Without bob's line, the first virtual host answers."""
        host = "www.bob.example.net"
        wait_until(lambda: who(httpd, "/", host)[3] == id_of(user), f"the site of {user}")

    httpd.start()
    wait_for("alice")
    for text, user in ((both, "bob"), (less, "alice")):
        (httpd.root / "conf" / "httpd.conf").write_text(text)
        assert httpd.configtest()[0] == 0
        httpd.graceful()
        wait_for(user)
    wait_until(lambda: len(httpd.guardians()) == 1, "the group to be gone")


def test_hosting_with_a_generated_include(hosted):
    """The lines come from the program of the page, which takes no other text than users and
    hosts.
    """
    program = page("hosting.md").files["/srv/hosting/sites.py"]
    include = for_this_machine(page("hosting.md").configurations()[INCLUDE])
    httpd = hosted(MACRO, "site.wsgi", start=False)
    conf = httpd.root / "conf" / "httpd.conf"
    lines = re.findall(r"^Use Site .*\n", conf.read_text(), re.M)
    conf.write_text(conf.read_text().replace("".join(lines), include))
    account = pwd.getpwuid(os.geteuid()) if os.geteuid() else machine.other_users()[0]
    text = program.replace("/srv/", f"{httpd.files}/srv/").replace("1000", "0")

    def generate(sites: str) -> subprocess.CompletedProcess[str]:
        httpd.write("srv/hosting/sites.txt", sites)
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)

    assert generate(f"{account.pw_name} www.example.com\n").returncode == 0
    made = httpd.files / "srv" / "hosting" / "sites.conf"
    assert made.read_text() == f"Use Site {account.pw_name} www.example.com\n"
    for wrong in ('bob" x', "bob www.example.com extra", "no-such-user x.example.com", "../b x"):
        assert generate(f"{wrong}\n").returncode != 0
    assert made.read_text() == f"Use Site {account.pw_name} www.example.com\n"
    made.write_text("".join(lines))  # of users whose numbers are known
    httpd.start()
    for user, host in (("alice", "alice.example.com"), ("bob", "www.bob.example.net")):
        assert who(httpd, "/", host)[3] == id_of(user)


def test_hosting_with_one_virtual_host(hosted):
    httpd = hosted(VHOST_ALIAS, "site.wsgi")
    httpd.write("srv/sites/eve/site.wsgi", WHOAMI)
    for user in USERS:
        host = f"{user}.sites.example.com"
        script = f"srv/sites/{user}/site.wsgi"
        assert who(httpd, "/", host) == ("", "/", script, id_of(user))
        assert who(httpd, "/shop/7", host.upper()) == ("", "/shop/7", script, id_of(user))
        assert ask(httpd, "/static/who.txt", host) == user
    with httpd.log.allows("AH01630"):  # denied
        for host in ("eve", "nobody"):
            answer = httpd.get("/", headers={"Host": f"{host}.sites.example.com"})
            assert answer.status_code == 403
    assert len(httpd.guardians()) == len(USERS)
    assert (
        "bob.sites.example.com 127.0.0.1" in (httpd.root / "logs" / "sites.access.log").read_text()
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have several users")
def test_no_user_runs_code_as_another_one(hosted):
    """Not even where a variable chooses the group and an .htaccess file may set it."""

    def careless(text: str) -> str:
        text = text.replace("WSGIProcessName $user", "WSGIProcessName %{ENV:SITE}")
        text = re.sub(r"^ *WSGIRestrictProcess.*\n", "", text, flags=re.M)
        return text.replace("AllowOverride AuthConfig Limit", "AllowOverride All")

    httpd = hosted(VHOST_ALIAS, "site.wsgi", change=careless)
    httpd.write("srv/sites/alice/.htaccess", "SetEnvIf Host . SITE=bob\n")
    with httpd.log.expects("WSGID0035.*alice/site.wsgi.*script-user="):
        answer = httpd.get("/", headers={"Host": "alice.sites.example.com"})
    assert answer.status_code in (500, 503)


def test_hosting_of_home_directories(hosted):
    httpd = hosted(USERDIR, "index.wsgi", "shop.wsgi", place="home/{}/public_html")
    httpd.write("home/eve/public_html/index.wsgi", WHOAMI)
    for user in USERS:
        home = f"home/{user}/public_html"
        for url, path_info, name in (
            ("shop.wsgi/basket", "/basket", "shop.wsgi"),
            ("shop.wsgi", "", "shop.wsgi"),
        ):
            script_name = f"/~{user}/{name}"
            expected = (script_name, path_info, f"{home}/{name}", id_of(user))
            assert who(httpd, f"/~{user}/{url}", "www.example.com") == expected
        assert who(httpd, f"/~{user}/", "www.example.com")[2] == f"{home}/index.wsgi"
        assert ask(httpd, f"/~{user}/static/who.txt") == user
    assert httpd.get("/~eve/index.wsgi").status_code == 404
    assert len(httpd.guardians()) == len(USERS)


def test_several_pythons(served):
    shown = PLAIN.replace("__file__.encode()", "repr((sys.executable, sys.prefix)).encode()")
    script = f"import sys\n{shown}"
    other = pythons.for_daemons(other_than=sys.version_info[:2]) or pythons.for_daemons()
    if other is None:
        pytest.skip("no Python >= 3.10 on this machine that the daemons' user can reach")
    files = dict.fromkeys((f"/srv/{name}/site.wsgi" for name in ("shop", "blog", "rest")), script)
    httpd = served(
        "several-pythons.md",
        files=files,
        start=False,
        change=lambda text: text.replace("/opt/python/bin/python3", str(other.executable)),
    )
    virtualenv(httpd, "shop/venv")
    httpd.start()
    assert f"{httpd.files}/srv/shop/venv" in ask(httpd, "/shop")
    assert str(other.executable) in ask(httpd, "/blog")
    assert ask(httpd, "/") not in (ask(httpd, "/shop"), ask(httpd, "/blog"))
    assert re.search(r"group 'shop': ready: Python 3\.[\d.]+, 15 threads, slot 0", httpd.log_text())


def test_tls(served):
    httpd = served("tls-http2.md", files={"/srv/shop/application/site.wsgi": PLAIN}, start=False)
    with httpd.log.expects("AH01909"):  # the certificate is for localhost
        httpd.start()
    response = httpd.get("/", port="TLS_PORT", scheme="https", headers={"Host": "shop.example.com"})
    assert response.text.endswith("site.wsgi")


def run_here(words: list[str], top: Path) -> None:
    subprocess.run([word.replace("/srv/", f"{top}/srv/") for word in words], check=True, timeout=30)


def test_deploying(served):
    """A link switches to a new release and back; then the script is touched."""
    versions = {
        f"/srv/shop/{number}/site.wsgi": PLAIN.replace("__file__", f"'version {number}'")
        for number in (1, 2)
    }
    httpd = served("deploying.md", files=versions, start=False)
    shop = httpd.files / "srv" / "shop"
    (shop / "current").symlink_to(shop / "1")
    httpd.start()
    assert ask(httpd) == "version 1"
    link, move = (
        next(words for words in page("deploying.md").commands if words[0] == name)
        for name in ("ln", "mv")
    )
    run_here(link, httpd.files)
    run_here(move, httpd.files)
    wait_until(lambda: ask(httpd) == "version 2", "the new version", 20)
    # One process is replaced after the other: repeat until both are new.
    wait_until(
        lambda: {ask(httpd) for _ in range(10)} == {"version 2"}, "the new version alone", 20
    )
    before = set(httpd.wait_for_daemons("shop", 2))
    run_here(
        next(words for words in page("deploying.md").commands if words[0] == "touch"), httpd.files
    )
    httpd.wait_for_daemons("shop", 2, without=before, timeout=20)
    assert httpd.log.find("WSGID0350") and httpd.log.find(
        "WSGID0051.*: exit code 0; .*has taken its place"
    )


# A script that cannot be loaded is reported by the process that tried and by httpd, and the processes
# that keep serving log that, too.
OF_A_BROKEN_DEPLOY = ("WSGID0332", "WSGID0056", "WSGID0306", "WSGID0351", "Traceback")


def test_a_broken_deploy_leaves_the_old_code_serving(served):
    httpd = served("deploying.md", files={"/srv/shop/current/site.wsgi": PLAIN})
    wait_until(lambda: len(httpd.log.find("WSGID0303")) == 2, "both processes to be ready", 20)
    httpd.write("srv/shop/current/site.wsgi", "import no_such_module\n")
    httpd.log.wait_for("WSGID0056.*could not be loaded", timeout=20)  # reload=hot
    assert ask(httpd).endswith("site.wsgi")
    since = httpd.log.mark()
    httpd.graceful()
    httpd.log.wait_for("WSGID0056.*could not be loaded", since, timeout=20)
    assert ask(httpd).endswith("site.wsgi")
    assert httpd.log.find("WSGID0332.*no_such_module")
    httpd.stop()  # it would try again, and log that
    httpd.log.accept_all(*OF_A_BROKEN_DEPLOY)


def test_my_daemon_died(served):
    """The lines that the page shows, for each way in which a process can die."""
    httpd, since = served("daemon-died.md"), 0
    for path, line in (
        ("/exit", r"WSGID0052.*exit code 3 \(.*os\._exit\(\)"),
        ("/crash", "WSGID0052.*signal SIGSEGV"),
        ("/kill", "WSGID0052.*signal SIGKILL"),
    ):
        httpd.log.wait_for(
            "WSGID0303", since, 20
        )  # one that dies before is reported differently (WSGID0056)
        since = httpd.log.mark()
        with (
            httpd.log.expects(line, "WSGID0166"),
            httpd.log.allows("Fatal Python error", "AH00052"),
        ):
            assert httpd.get(path).status_code == 502
        wait_until(lambda: httpd.get("/").text == "still here\n", "the next process", 20)
    # The interpreter writes its report in pieces, and other processes may write between them.
    text = httpd.log_text(0, limit=1 << 20)
    assert "Fatal Python error" in text and "string_at" in text
    # httpd's own lines may come after ours.
    httpd.log.accept_all("Fatal Python error", "AH00052")
    pid = httpd.wait_for_daemons("shop", 1)[0]
    with httpd.log.allows("."):
        os.kill(pid, signal.Signals["SIG" + signal_of("daemon-died.md")])
        httpd.log.wait_for("WSGID0314", timeout=10)
    assert signal_of("slow.md") == signal_of("daemon-died.md")


def signal_of(name: str) -> str:
    """The signal of a page's kill command."""
    return next(words for words in page(name).commands if words[0] == "kill")[1].removeprefix("-")


def test_it_is_slow(served):
    def faster(text: str) -> str:
        text = text.replace("slow-request=2", "slow-request=0.2").replace(
            "time.sleep(3)", "time.sleep(0.6)"
        )
        return text.replace(
            "CustomLog ", (CHECKOUT / "conf" / "wsgid.conf").read_text() + "CustomLog "
        )

    httpd = served("slow.md", change=faster)
    assert ask(httpd) == "done\n"
    with httpd.log.allows("."):  # the lines of a stack
        assert ask(httpd, "/slow") == "done\n"
        httpd.log.wait_for("wait_for_the_database", timeout=10)
    shown = next(block.text for block in page("slow.md").blocks if block.language == "text")
    line = re.compile(re.sub(r"\d+", r"(\\d+)", shown.strip()) + "$", re.M)
    log = httpd.root / "logs" / "shop-access.log"
    fast, slow = wait_until(
        lambda: len(found := line.findall(log.read_text())) == 2 and found, "two lines"
    )
    assert int(fast[2]) < 600_000 <= int(slow[2])


def test_sizing(served):
    httpd = served("sizing.md")
    assert ask(httpd) == "shop\n"
    assert len(httpd.daemons("shop")) == 2


def test_elastic(served):
    httpd = served("elastic.md")
    assert ask(httpd) == "shop\n"
    assert len(httpd.daemons("shop")) == 1


def test_status(served):
    """The page, the metrics that Prometheus fetches, and the names in its rules."""
    httpd = served("status.md")
    texts = {block.language: block.text for block in page("status.md").blocks}
    path = re.search(r"metrics_path: (\S+)", texts["yaml"])[1]
    parameters = dict(re.findall(r'^ {6}(\w+): \["(.*)"\]$', texts["yaml"], re.M))
    families = list(text_string_to_metric_families(httpd.get(path, params=parameters).text))
    names = {f"{family.name}{end}" for family in families for end in ("", "_total", "_bucket")}
    assert set(re.findall(r"wsgid_\w+", texts["promql"])) <= names
    for words in page("status.md").commands:
        assert httpd.get(words[-1].removeprefix("http://localhost")).status_code == 200


def test_logs(served):
    """The lines that the page shows, and no others."""
    httpd = served("logs.md")
    log = httpd.log_of("shop.error.log")
    shop = {"Host": "shop.example.com"}
    shown = next(block.text for block in page("logs.md").blocks if block.language == "text")
    since = log.mark()
    with log.expects("WSGID0340: the application raised ValueError: sold out", "Traceback"):
        assert httpd.get("/broken", headers=shop).status_code == 500
    name = re.search(r"\[request (\S+)\] WSGID0340", log.path.read_text())[1]
    output = log.path.read_text()[since:].replace(name, "A8HC4/PcMC4").replace(str(httpd.files), "")
    output = re.sub(r"\[pid \d+:tid \d+\] ", "", output)
    output = re.sub(r"^\[[A-Z][^\]]*\] ", "", output, flags=re.M)
    # The interpreter may add marks below a source line; print() goes another way, so its line may
    # be elsewhere.
    lines = [
        line
        for line in re.sub(r"127\.0\.0\.1:\d+", "192.0.2.7:40312", output).splitlines()
        if "request A8HC4" in line and not re.search(r"\| +[~^]+$", line)
    ]
    assert sorted(lines) == sorted(shown.splitlines())
    access = httpd.root / "logs" / "shop.access.log"
    wait_until(
        lambda: access.exists() and f" {name}\n" in access.read_text(), "the line of the access log"
    )
    assert ask(httpd, "/checkout/") == "welcome\n"
    assert len(log.find("looking at /checkout/")) == 1


@pytest.mark.parametrize(
    ("path", "program", "output"),
    [
        (
            "/srv/shop/settings_logging.py",
            "logging.config.dictConfig(LOGGING); logging.getLogger('shop').info('sold')",
            "shop: sold\n",
        ),
        (
            "/srv/shop/json_logging.py",
            "set_up('/dev/stderr'); environ = {'mod_wsgi.request_id': 'a/b'}\n"
            "with_request_id(lambda *_: logging.error('a %s', '\"quote\"'))(environ, None)",
            '{"level": "ERROR", "logger": "root", "message": "a \\"quote\\"", "request": "a/b"}\n',
        ),
    ],
)
def test_logging_set_up_as_on_the_page(path, program, output):
    text = "import logging.config\n" + page("logs.md").files[path] + program
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", output)


def test_moving_from_gunicorn(served):
    httpd = served(
        "moving-from-gunicorn.md",
        files={
            "/srv/shop/application/shop.py": PLAIN.replace("def application", "def app"),
            "/srv/shop/static/a.txt": "a",
        },
    )
    assert ask(httpd).endswith("/shop.py")
    assert ask(httpd, "/static/a.txt") == "a"


# -------- run as commands


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """The current directory of a user who follows a page."""
    directory = machine.temporary_directory("wsgid-docs-")
    for name, text in {
        "hello.py": page("first-application.md").files["/srv/hello/hello.py"],
        "shop/web.py": PLAIN.replace("def application", "def app"),
        "shop/__init__.py": "from shop.web import app\ncreate_app = lambda: app\n",
        "static/a.txt": "a",
    }.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    project = directory / "path" / "to" / "project"
    project.mkdir(parents=True)
    make = [sys.executable, "-m", "django", "startproject", "shop", project]
    subprocess.run(make, check=True, env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})
    (project / "shop" / "production.py").write_text("from shop.settings import *\n")
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    yield directory
    shutil.rmtree(directory)


def commands(command: str) -> list[tuple[str, list[str]]]:
    return [
        (one.path.name, words)
        for one in PAGES
        for words in one.commands
        if words[:2] == ["pywsgid", command]
    ]


SERVE = commands("serve")


@pytest.mark.parametrize(
    ("name", "words"), SERVE, ids=[f"{name} {' '.join(words[2:])}" for name, words in SERVE]
)
def test_serve_as_on_the_page(place, tmp_path, name, words):
    for before in page(name).commands:
        if before[0] == "openssl":
            subprocess.run(before, check=True, capture_output=True, cwd=place)
    words = ["0" if word == "8443" else word for word in words[2:]]
    run = Run(tmp_path, *words, checkout=place)
    try:
        wait_until(
            lambda: "served at" in run.out or run.process.poll() is not None,
            lambda: f"it: {run.log}",
            20,
        )
        url = re.search(r"served at (https?://\S+/)", run.out)[1]
        assert get(url).status_code == 200
        assert url.startswith("https" if "--https-only" in words else "http:")
    finally:
        assert run.end(signal.SIGINT) == 0


SETUP = commands("setup")


@pytest.mark.parametrize(("name", "words"), SETUP, ids=[name for name, _ in SETUP])
def test_setup_as_on_the_page(place, name, words):
    """Also the commands of its apachectl, if the page has some."""
    user = machine.other_users()[0].pw_name if os.geteuid() == 0 else machine.web_user()
    exchange = {
        "shop:app": "shop:app",
        "shop": user,
        "8000": "0",
        "/srv/shop/static": str(place / "static"),
    }
    words = [
        exchange.get(word, word).replace("/srv/", f"{place}/{name}/srv/") for word in words[2:]
    ]
    if "--python-home" in words:
        words[words.index("--python-home") + 1] = str(machine.stage().python.parents[1])
    if "--port" not in words:
        words += ["--port", "0"]
    done = subprocess.run(
        [machine.stage().python, "-m", "pywsgid", "setup", *words],
        cwd=place,
        env=PYTHONPATH,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    url = re.search(r"serves \S+ at (http://\S+/)", done.stdout)[1]
    control = next(word for word in words if word.endswith("/server")) + "/apachectl"
    steps = [step[1] for step in page(name).commands if step[0].endswith("/server/apachectl")] or [
        "start",
        "stop",
    ]
    for step in steps:
        done = subprocess.run([control, step], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        if step == "start":
            assert get(url).status_code in (200, 400)  # 400 from Django: ALLOWED_HOSTS is empty
    assert steps[-1] == "stop"


# -------- moving from mod_wsgi


def test_check_prints_what_the_page_shows_for_the_old_configuration(place, stage):
    one = page("moving-from-mod_wsgi.md")
    (place / "srv" / "shop").mkdir(parents=True)
    (place / "srv" / "shop" / "site.wsgi").write_text(PLAIN)
    old = one.configurations("old")[0].replace("/srv/", f"{place}/srv/")
    # The lines that every configuration has come last, so that the page's line numbers hold.
    rest = f'ServerRoot "{place}"\nServerName localhost\nErrorLog /dev/null\n'
    rest += f"Listen 127.0.0.1:{machine.free_port()}\nDefaultRuntimeDir run\n"
    rest += "\n".join([*machine.load_lines(["mpm_event", "unixd", "authz_core"]), ""])
    if os.geteuid() == 0:
        rest += f'User {machine.web_user()}\nGroup "#{machine.group_of(machine.web_user())}"\n'
    (place / "run").mkdir()
    (place / "httpd.conf").write_text(old + rest)
    done = subprocess.run(
        [sys.executable, "-m", "pywsgid", "check", place / "httpd.conf"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    shown = next(block.text for block in one.blocks if block.language == "text")
    output = done.stdout.replace(f"{place}/", "")
    assert without_path(output).splitlines()[:-1] == without_path(shown).splitlines()
    assert done.returncode == 1


def without_path(text: str) -> str:
    """Removes the path of the module, which differs from machine to machine."""
    return re.sub(r'LoadModule wsgid_module ".*"', 'LoadModule wsgid_module "..."', text)


def test_the_old_configuration_serves_with_the_other_module(make_httpd):
    text = page("moving-from-mod_wsgi.md").configurations("old")[0]
    text = re.sub(r"^LoadModule.*$", "", text, flags=re.M).replace("/srv/", "${FILES}/srv/")
    httpd = make_httpd(CLOSED + text, files={"srv/shop/site.wsgi": PLAIN})
    assert httpd.get("/x").text.endswith("/srv/shop/site.wsgi")
    assert len(httpd.wait_for_daemons("shop", 2)) == 2
