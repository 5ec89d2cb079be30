"""Directives: where each may be, and that httpd starts with it."""

from __future__ import annotations

import pytest

SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
"""
ALIAS = "WSGIScriptAlias /site ${FILES}/site.wsgi\n"
DAEMON = "WSGIDaemonProcess site\nWSGIProcessGroup site\nWSGIApplicationGroup %{GLOBAL}\n"
SERVER = """
WSGISocketRotation Off
WSGIAcceptMutex default
WSGIPythonPath ${FILES}
WSGIPythonEggs ${FILES}
WSGIPythonOptimize 1
WSGIPythonWarnings ignore
WSGIPythonHashSeed 1
WSGIDontWriteBytecode On
WSGISwitchInterval 0.01
WSGIDestroyInterpreter Off
WSGIRestrictEmbedded On
WSGIRestrictStdin On
WSGIRestrictStdout Off
WSGIRestrictSignal Off
WSGICaseSensitivity On
WSGIServerMetrics On
WSGIVerboseDebugging On
WSGIPerInterpreterGIL Off
""".strip().splitlines()
DIRECTORY = """
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIApplicationGroup %{RESOURCE}
WSGIApplicationGroup %{SERVER}
WSGIApplicationGroup %{ENV:X}
WSGIApplicationGroup name
WSGIRestrictProcess site
WSGIPassApacheRequest On
""".strip().splitlines()
ANYWHERE = """
WSGICallableObject application
WSGIPassAuthorization On
WSGIScriptReloading Off
WSGIErrorOverride On
WSGIChunkedRequest On
WSGIMapHEADToGET Auto
WSGIMapHEADToGET Off
WSGIIgnoreActivity On
WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto
WSGITrustedProxies 127.0.0.1 10.0.0.0/8
WSGIEnableSendfile On
""".strip().splitlines()


@pytest.fixture(scope="module")
def tested(start):
    """One httpd that never runs, for `httpd -t` with one configuration after the other."""
    server = start("", files={"site.wsgi": SCRIPT}, begin=False)

    def configtest(text):
        server.configure(text)
        code, output = server.configtest()
        assert code == 0, output

    return configtest


@pytest.mark.parametrize("line", [*SERVER, *DIRECTORY, *ANYWHERE])
def test_in_the_main_server(tested, line):
    tested(f"{DAEMON}{line}\n{ALIAS}")


@pytest.mark.parametrize("line", [*DIRECTORY, *ANYWHERE])
@pytest.mark.parametrize(
    "section", ["VirtualHost *", "Location /site", "Directory /srv", "Files x"]
)
def test_in_a_section(tested, section, line):
    end = section.partition(" ")[0]
    tested(f"{DAEMON}{ALIAS}<{section}>\n{line}\n</{end}>")


def test_in_htaccess(start):
    text = """
    WSGIDaemonProcess site
    <Directory ${FILES}>
        Options +ExecCGI
        AllowOverride FileInfo
        AddHandler wsgi-script .wsgi
        WSGIProcessGroup site
    </Directory>
    """
    server = start(text, files={"site.wsgi": SCRIPT, ".htaccess": "\n".join(ANYWHERE)})
    assert server.get("/site.wsgi").text == "served"


def test_all_of_them_at_once(start):
    server = start("\n".join([DAEMON, *SERVER, *ANYWHERE, ALIAS]), files={"site.wsgi": SCRIPT})
    assert server.get("/site").text == "served"


@pytest.mark.parametrize("name", ["mod_wsgi.c", "wsgi_module"])
def test_a_section_for_the_module(start, name):
    text = (
        f"<IfModule {name}>\n{DAEMON}{ALIAS}</IfModule>\n<IfModule !{name}>\nError no\n</IfModule>"
    )
    assert start(text, files={"site.wsgi": SCRIPT}).get("/site").text == "served"


@pytest.mark.parametrize(
    "prefix",
    [
        "run/wsgi",
        "${ROOT}/run/wsgi",
        "/tmp/wsgid-test",
    ],
)
def test_a_prefix_of_sockets(start, prefix):
    server = start(f"WSGISocketPrefix {prefix}\n{DAEMON}{ALIAS}", files={"site.wsgi": SCRIPT})
    assert server.get("/site").text == "served"


def test_a_prefix_whose_directory_is_made_later_passes_configtest(tested):
    tested(f"WSGISocketPrefix ${{ROOT}}/later/wsgi\n{DAEMON}{ALIAS}")


FLAGS = {
    "WSGIPythonOptimize 2": "sys.flags.optimize == 2",
    "WSGIDontWriteBytecode On": "sys.dont_write_bytecode",
    "WSGIPythonWarnings error": "'error' in sys.warnoptions",
    "WSGISwitchInterval 0.25": "sys.getswitchinterval() == 0.25",
}


@pytest.mark.parametrize("line", FLAGS)
def test_a_directive_of_the_interpreter_takes_effect(start, line):
    script = f"""
import sys
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(bool({FLAGS[line]})).encode()]
"""
    server = start(f"{line}\n{DAEMON}{ALIAS}", files={"site.wsgi": script})
    assert server.get("/site").text == "True"
    server.stop()
    server.log.accept_all("ResourceWarning", "Traceback", "Exception ignored")
