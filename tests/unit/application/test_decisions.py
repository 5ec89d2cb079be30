"""What a function may answer, and how httpd hears it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pywsgid.daemon.application import decisions


def ask(name, function, **question):
    """The answer as httpd gets it: status line and values."""
    found = []
    environ = {f"wsgid.{key}": value for key, value in question.items()}
    environ |= dict.fromkeys(decisions.NOT_HERE)
    application = decisions.application(name + decisions.SUFFIX, function)
    assert application(environ, lambda status, headers: found.append((status, headers))) == ()
    assert {*environ} == {"mod_ssl.is_https", "mod_ssl.var_lookup"}  # nothing of the question
    ((status, headers),) = found
    return status, [value for _, value in headers]


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (True, ("200 Yes", [])),
        (False, ("403 No", [])),
        (None, ("404 Unknown", [])),
        ("ada", ("200 Yes", ["ada"])),
        ("j\xc3\xbcrgen", ("200 Yes", ["j\xc3\xbcrgen"])),  # a native string
        ("j\xfcrgen", ("200 Yes", ["j\xc3\xbcrgen"])),  # text
        ("\u0141ukasz", ("200 Yes", ["\xc5\x81ukasz"])),
        ("ädä".encode(), ("200 Yes", ["Ã¤dÃ¤"])),
    ],
)
def test_check_password(result, answer):
    assert ask("check_password", lambda *_: result, user="a", password="b") == answer


@pytest.mark.parametrize("result", [1, 0, "", [], ["ada"], object(), 1.0])
def test_what_looks_true_is_no_answer(result):
    with pytest.raises((TypeError, ValueError)):
        ask("check_password", lambda *_: result, user="a", password="b")
    with pytest.raises(TypeError):
        ask("allow_access", lambda *_: result, host="h")


def test_an_empty_hash_is_no_answer():
    """Whoever tries to log in could compute with it."""
    with pytest.raises(ValueError, match="empty hash"):
        ask("get_realm_hash", lambda *_: "", user="a", realm="r")


def test_functions_ask_mod_ssl():
    def function(environ, host):
        asked = [environ["mod_ssl.var_lookup"](name) for name in ("SSL_X", b"SSL_X", "SSL_Y")]
        seen.append((environ["mod_ssl.is_https"](), asked))
        return True

    seen: list[tuple[int, list[str]]] = []
    ask("allow_access", function, host="h", **{"tls.SSL_X": "x"})
    ask("allow_access", function, host="h")
    assert seen == [(1, ["x", "x", ""]), (0, ["", "", ""])]


def test_functions_get_what_is_asked():
    def function(environ, *words):
        seen.append(words)

    seen: list[tuple[str, ...]] = []
    ask("check_password", function, user="ada", password="key")
    ask("get_realm_hash", function, user="ada", realm="here")
    with pytest.raises(TypeError):
        ask("groups_for_user", function, user="ada")
    with pytest.raises(TypeError):  # None, too, is no answer
        ask("allow_access", function, host="h")
    assert seen == [("ada", "key"), ("ada", "here"), ("ada",), ("h",)]


def test_groups_may_be_text_or_bytes_and_come_from_any_iterable():
    groups = (group for group in ["a", b"b"])
    assert ask("groups_for_user", lambda *_: groups, user="u") == ("200 Yes", ["a", "b"])
    assert ask("groups_for_user", lambda *_: [], user="u") == ("200 Yes", [])
    for wrong in ("text", b"bytes", [1], None):
        with pytest.raises(TypeError):
            ask("groups_for_user", lambda *_, wrong=wrong: wrong, user="u")


def test_a_dispatch_script_chooses_what_it_has_functions_for():
    def ask_script(**functions):
        found = []
        application = decisions.application(decisions.DISPATCH, SimpleNamespace(**functions))
        application({"PATH_INFO": "/x"}, lambda *answer: found.append(answer))
        return found[0]

    assert ask_script() == ("200 Yes", [])
    assert ask_script(process_group=lambda environ: environ["PATH_INFO"]) == (
        "200 Yes",
        [("process_group", "/x")],
    )
    assert ask_script(process_group=lambda _: None, callable_object=lambda _: "other") == (
        "200 Yes",
        [("callable_object", "other")],
    )
    with pytest.raises(TypeError):
        ask_script(process_group=lambda _: 1)
