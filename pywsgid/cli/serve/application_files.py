"""The script and the module as the application's user reaches them: as they are, as copies in the
server root, or as generated scripts.

Rules: only files of ours are copied (mod_wsgid.so, the package pywsgid, the example script), never
those of an application. generated_files.py writes them.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from pywsgid.cli.file_access import blocked_at, first_blocked
from pywsgid.cli.messages import Failure, note
from pywsgid.cli.module import NAME, PACKAGE
from pywsgid.cli.serve.generated_files import (
    change_owner,
    copy_file,
    make_directory,
    open_to_all,
    remove,
    write,
)
from pywsgid.cli.serve.server_root import DEVELOPMENT_DIRECTORY
from pywsgid.cli.serve.site import Site
from pywsgid.cli.users import name_of

SCRIPT = "application.wsgi"
DEVELOPMENT_SCRIPT = "development.wsgi"
DEVELOPMENT_SOURCE = '''"""Written by pywsgid: {name} with reloading and tracebacks."""

from pywsgid.daemon.application import development

application = development.application(
    {marker!r},
{arguments}    touch=__file__,
)
'''


def with_reachable_files(site: Site) -> Site:
    """Returns the site with a module and a script that its users can reach. Raises Failure."""
    site = replace(site, module=_reachable_module(site))
    return with_reachable_script(site)


# -------- the module


def _reachable_module(site: Site) -> str:
    """The module, or a copy of it with the package beside it."""
    package = package_of(site.module)
    blocked = first_blocked(_modules(package), site.application)
    if blocked is None:
        return site.module
    note(
        f"WSGID0409: user {name_of(site.application)} cannot enter {blocked}, so copies of "
        f"mod_wsgid.so and pywsgid in {site.root} are used: nothing needs to be done"
    )
    copy = os.path.join(site.root, "pywsgid")
    ignored = shutil.ignore_patterns("__pycache__", NAME)
    shutil.copytree(package, copy, ignore=ignored, dirs_exist_ok=True)
    open_to_all(copy)
    return copy_file(site.module, site.root)


def _modules(package: str) -> list[str]:
    """The Python files in all folders of the package."""
    return [
        os.path.join(directory, name)
        for directory, _, names in os.walk(package)
        for name in names
        if name.endswith(".py")
    ]


def package_of(module: str) -> str:
    """Returns the package whose daemon a module starts (apxs/spawn/interpreter.c): pywsgid beside
    it, or the directory that contains it. Raises Failure if there is none."""
    directory = os.path.dirname(module)
    for package in (os.path.join(directory, "pywsgid"), directory):
        if os.path.exists(os.path.join(package, "daemon", "boot.py")):
            return package
    raise Failure(
        "WSGID0401",
        f"pywsgid/daemon/boot.py is not beside {module}",
        "run `make` (or `make install`) in the checkout again",
    )


# -------- the script


def is_example(script: str) -> bool:
    """Returns whether it is conf/hello.wsgi of a checkout, which needs no file beside it."""
    return os.path.realpath(script) == _example()


def with_reachable_script(site: Site) -> Site:
    """Returns the site with a copy of the example script, or with a generated script, if it needs
    one. Raises Failure."""
    return _with_script(_with_reachable_example(site))


def _example() -> str:
    return os.path.join(os.path.dirname(os.path.realpath(PACKAGE)), "conf", "hello.wsgi")


def _directory(site: Site) -> str:
    """Where scripts are written to; root's own if root runs this."""
    return os.path.join(site.root, "application")


def _with_reachable_example(site: Site) -> Site:
    """With a copy of the example script if it is out of reach."""
    users = (site.application, site.identity)
    if not site.script or not is_example(site.script):
        return site
    if not any(blocked_at(site.script, identity) for identity in users):
        return site
    # The example's own path: what is at site.script may have been replaced meanwhile.
    copy = copy_file(_example(), _directory(site))
    target = replace(site.target, directory=_directory(site), script=copy)
    return replace(site, script=copy, target=target)


def _with_script(site: Site) -> Site:
    """With a generated script if the target or --reload needs one."""
    if site.options.get("reload"):
        return _with_development_script(site)
    if site.target.source:
        path = os.path.join(_directory(site), SCRIPT)
        return replace(site, script=write(path, site.target.source))
    return site


def _with_development_script(site: Site) -> Site:
    """With a script that wraps the application. The application's user owns it, and touches it when
    a source file changes."""
    directory = os.path.join(site.root, DEVELOPMENT_DIRECTORY)
    marker = os.path.join(directory, "loaded")
    make_directory(directory)
    remove(marker)
    if site.application:
        change_owner(directory, site.application.uid, site.application.gid)
    path = os.path.join(_directory(site), DEVELOPMENT_SCRIPT)
    script = write(path, _development_source(site, marker), owner=site.application)
    return replace(site, script=script, target=replace(site.target, callable="application"))


def _development_source(site: Site, marker: str) -> str:
    target = site.target
    words: dict[str, object] = (
        {"script": target.script, "name": target.callable}
        if target.script
        else {"code": target.source}
    )
    watched = [target.directory, site.directory, *(site.options["python-path"] or [])]
    words |= {"directories": list(dict.fromkeys(watched)), "hosts": [site.options["server-name"]]}
    arguments = "".join(f"    {name}={value!r},\n" for name, value in words.items())
    return DEVELOPMENT_SOURCE.format(name=target.name, marker=marker, arguments=arguments)
