"""A configuration that names mod_wsgi where httpd asks for a module: <IfModule>, LogLevel ..."""

import re

import pytest

HELLO = "WSGIScriptAlias / ${APPS}/hello.wsgi"
SECTIONS = f"""
<IfModule mod_wsgi.c>
    <IfModule wsgi_module>
        <IfModule mod_wsgid.c>
            <IfModule wsgid_module>
                {HELLO}
            </IfModule>
        </IfModule>
    </IfModule>
</IfModule>
<Location /info>
    SetHandler server-info
</Location>
<IfModule !wsgi_module>
    Error "mod_wsgi is needed"
</IfModule>
<IfModule !mod_wsgi.c>
    Error "mod_wsgi is needed"
</IfModule>
"""


@pytest.fixture(scope="module", params=["wsgid_module", "wsgi_module"])
def httpd(request, make_httpd, stage):
    load = f"LoadModule {request.param} {stage.module}\n"
    return make_httpd(load + SECTIONS, ours=False, modules=["info"])


def test_sections_for_mod_wsgi_are_read_whichever_name_loads_the_module(httpd):
    assert httpd.get("/").status_code == 200


def test_they_are_read_again_after_a_graceful_restart_and_after_a_restart(httpd):
    for again in (httpd.graceful, httpd.restart):
        again()
        assert httpd.get("/").status_code == 200


def test_mod_info_lists_the_names(httpd):
    text = httpd.get("/info").text
    assert "mod_wsgid.c" in text and "mod_wsgi.c" in text


@pytest.mark.parametrize("name", ["wsgi", "wsgid", "wsgi_module", "mod_wsgi.c"])
def test_loglevel_sets_the_level_of_the_module_by_each_name(make_httpd, stage, name):
    httpd = make_httpd(f"LogLevel warn {name}:debug\n{HELLO}")
    assert httpd.get("/").status_code == 200
    assert re.search(r"\[wsgid:debug\]", httpd.log_text())


def test_httpd_lists_the_module_once_under_the_name_of_its_line(httpd, stage):
    code, output = httpd.configtest("-M")
    assert code == 0
    assert len(re.findall(r"wsgid?_module", output)) == 1


def test_both_names_at_once_are_one_clear_error(make_httpd, stage):
    lines = [f"LoadModule {name}_module {stage.module}" for name in ("wsgid", "wsgi")]
    code, output = make_httpd("\n".join([*lines, HELLO]), start=None, ours=False).configtest()
    assert code != 0
    assert output.count("WSGID0001: mod_wsgid is loaded twice") == 1
    assert output.count("WSGID0") == 1
