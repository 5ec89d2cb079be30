"""The table of the options of `pywsgid serve` and `setup`."""

from __future__ import annotations

import pytest
from clienv import pywsgid

from pywsgid.cli.serve import serve_options
from pywsgid.wire.options import OPTIONS


@pytest.mark.parametrize(
    "words",
    [
        "--port=-1",
        "--port=65536",
        "--port=http",
        "--processes=0",
        "--env=1A=b",
        "--mount-point=shop",
        "--log-level=loud",
        "--umask=8",
        "--lang=" + "é" * 65,  # 130 bytes
        "--queue-timeout=soon",
        "--memory-limit=1T",
        "--env=A=${PATH}",
    ],
)
def test_a_wrong_value_is_refused_with_a_short_usage(words, script):
    done = pywsgid("serve", words, str(script))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


def test_every_option_of_wsgidaemonprocess_is_an_option_of_serve():
    names = {option.name for option in serve_options.options()}
    assert OPTIONS.keys() - names == {"home"}
    assert (
        next(option for option in serve_options.options() if option.name == "reload").metavar == ()
    )


def test_every_option_has_its_default_in_the_help():
    text = " ".join(pywsgid("serve", "--help").stdout.split())
    for option in serve_options.options():
        assert f"--{option.name}" in text
        assert option.help.endswith(".")
        if option.default not in (None, False, True):
            assert f"Default: {option.default}." in text


def test_setup_has_no_options_of_a_temporary_server():
    assert {"--server-root", "--reload"} <= set(pywsgid("serve", "--help").stdout.split())
    assert not {"--server-root", "--reload"} & set(pywsgid("setup", "--help").stdout.split())
