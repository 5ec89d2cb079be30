"""Finds the application that TARGET on the command line names: a WSGI script, MODULE:CALLABLE, or
a Django project.

Rules: nothing of the application is imported, because it may run under another Python and as
another user. Its source files are parsed, so that the usual mistakes are reported before httpd
starts.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass

from pywsgid.cli.messages import Failure

FIX = "name a WSGI script, MODULE:CALLABLE, or a Django project (the directory with its manage.py)"
MODULE = re.compile(
    r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<callable>[^\W\d]\w*(?:\.[^\W\d]\w*)*)(?P<call>\(\))?"
)
SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*[,\]]\s*=?\s*["']([\w.]+)["']""")
# Usual names of an application, or of a function that returns one, beside `application`.
OTHER_NAMES = ("app", "wsgi", "wsgi_app", "server", "create_app", "make_app")
FACTORIES = ("create_app", "make_app")
GENERATED = '''"""Written by pywsgid: the WSGI script of {what}."""

{code}
'''


@dataclass(frozen=True)
class Target:
    """An application. Either its script exists, or `source` is written into one."""

    name: str  # as the user typed it
    directory: str  # its default working directory
    script: str = ""  # the path of its script; "" if `source` is needed
    source: str = ""
    callable: str = "application"  # the name of the application in the script
    module: str = ""  # what `source` imports


def find(
    text: str, callable_name: str, working_directory: str | None, other_python: bool = False
) -> Target:
    """Returns the application that `text` names. Raises Failure if there is none.

    With `other_python`, the application may use a syntax that this interpreter does not know.
    """
    match = MODULE.fullmatch(text)
    if match and not os.path.exists(text):
        return _module(text, match, working_directory or os.getcwd(), other_python)
    if os.path.isdir(text):
        return _django(text, other_python)
    if os.path.basename(text) == "manage.py" and os.path.isfile(text):
        return _django(os.path.dirname(text) or os.curdir, other_python)
    return _script(text, callable_name, other_python)


# -------- a script


def _script(text: str, callable_name: str, other_python: bool) -> Target:
    path = os.path.abspath(text)
    names = names_in(path, text, other_python)
    if names is not None and callable_name.partition(".")[0] not in names:
        raise Failure(
            "WSGID0404", f"{text} does not define `{callable_name}`", fix_for_script(names)
        )
    return Target(text, os.path.dirname(path), script=path, callable=callable_name)


def names_in(path: str, shown: str, other_python: bool) -> set[str] | None:
    """Returns the names that a file defines at its top level; None if its source does not show
    them. `shown` is the file's name in a message. Raises Failure if the file cannot be read or is
    not Python.
    """
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise Failure("WSGID0403", f"{shown} cannot be read ({error.strerror})", FIX) from error
    try:
        compile(source, path, "exec", dont_inherit=True)
        return names_of(ast.parse(source, path))
    except SyntaxError as error:
        if other_python:
            return None
        raise Failure(
            "WSGID0404", f"{shown}, line {error.lineno}: {error.msg}", "correct that line"
        ) from error
    except ValueError as error:
        raise Failure("WSGID0404", f"{shown} is not Python ({error})", FIX) from error


def names_of(tree: ast.Module) -> set[str] | None:
    """Returns the names that a module defines at its top level; None if the source does not show
    them (a star import, exec, globals(), a raise).
    """
    found: set[str] = set()
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Raise):
            return None
        if isinstance(node, ast.Name):
            if node.id in ("exec", "globals", "vars", "locals"):
                return None
            found |= {node.id} if isinstance(node.ctx, ast.Store) else set()
        if isinstance(node, ast.alias):
            if node.name == "*":
                return None
            found.add(node.asname or node.name.partition(".")[0])
        todo.extend(ast.iter_child_nodes(node))
    return found


def fix_for_script(names: set[str]) -> str:
    """Returns the fix for a script that defines `names` but not the application."""
    for name in OTHER_NAMES:
        if name in FACTORIES and name in names:
            return f"add `application = {name}()`, because it defines {name}()"
        if name in names:
            return f"add --callable-object {name}, because it defines {name}"
    return "define it, or name the application with --callable-object"


# -------- a module


def _module(text: str, match: re.Match[str], directory: str, other_python: bool) -> Target:
    module, name, call = match["module"], match["callable"], match["call"] or ""
    first = name.partition(".")[0]
    code = (
        f"from {module} import {first} as application"
        if name == first and not call
        else f"from {module} import {first}\n\napplication = {name}{call}"
    )
    path = file_of(module, directory)
    if path:
        names = names_in(path, path, other_python)
        if names is not None and first not in names and not _is_submodule(path, first):
            raise Failure(
                "WSGID0404", f"{path} does not define `{first}`", fix_for_module(module, names)
            )
    return Target(
        text,
        os.path.abspath(directory),
        source=GENERATED.format(what=text, code=code),
        module=module.partition(".")[0],
    )


def file_of(module: str, directory: str) -> str | None:
    """Returns the path of a module below `directory`; None if it is not there."""
    place = os.path.join(directory, *module.split("."))
    candidates = (os.path.join(place, "__init__.py"), place + ".py")
    return next((os.path.abspath(path) for path in candidates if os.path.isfile(path)), None)


def _is_submodule(path: str, name: str) -> bool:
    """Whether the name is a module of the package: `from package import name` finds it, too."""
    return (
        os.path.basename(path) == "__init__.py" and file_of(name, os.path.dirname(path)) is not None
    )


def fix_for_module(module: str, names: set[str]) -> str:
    """Returns the fix for a module that defines `names` but not the callable."""
    for name in ("application", *OTHER_NAMES):
        if name in names:
            call = "()" if name in FACTORIES else ""
            return f"name {module}:{name}{call}, because the module defines {name}"
    return "name the application that the module defines"


# -------- a Django project


def _django(text: str, other_python: bool) -> Target:
    """A Django project: its wsgi.py; if there is none, the source of the script that `django-admin
    startproject` would write."""
    directory = os.path.abspath(text)
    manage = os.path.join(directory, "manage.py")
    if not os.path.isfile(manage):
        raise Failure("WSGID0403", f"the directory {text} contains no manage.py", FIX)
    with open(manage, encoding="utf-8", errors="replace") as file:
        match = SETTINGS.search(file.read())
    settings = match[1] if match else ""
    script = wsgi_of(directory, settings)
    if script:
        names_in(script, script, other_python)
        return Target(text, directory, script=script)
    if not settings:
        raise Failure(
            "WSGID0403",
            f"{manage} does not set DJANGO_SETTINGS_MODULE, and the project has no wsgi.py",
            "name the project's WSGI script as TARGET",
        )
    code = (
        f'import os\n\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")\n\n'
        "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()"
    )
    source = GENERATED.format(what=f"the Django project {text}", code=code)
    return Target(text, directory, source=source, module="django")


def wsgi_of(directory: str, settings: str) -> str | None:
    """Returns the wsgi.py in the package of the settings or in one above it; else the project's
    only wsgi.py; None if there is none."""
    package = settings
    while "." in package:
        package = package.rpartition(".")[0]
        script = os.path.join(directory, *package.split("."), "wsgi.py")
        if os.path.isfile(script):
            return script
    found = [
        os.path.join(entry.path, "wsgi.py") for entry in os.scandir(directory) if entry.is_dir()
    ]
    found = [script for script in found if os.path.isfile(script)]
    return found[0] if len(found) == 1 else None
