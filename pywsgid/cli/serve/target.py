"""What TARGET on the command line is: a WSGI script, MODULE:CALLABLE, or a Django project.

Rules: nothing of the application is imported here, because this may be another Python and another
user than it runs under; what can be seen in its files is looked at, so that the usual mistakes are
one line before the start. A Target says what httpd is to map (a script that is there, or the source
of one that is to be written) and where the application is at home.
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
# Names that a WSGI application has where it is not called `application`; a call is what makes one.
OTHER_NAMES = ("app", "wsgi", "wsgi_app", "server", "create_app", "make_app")
FACTORIES = ("create_app", "make_app")
GENERATED = '''"""Written by pywsgid: hands {what} to httpd."""

{code}
'''


@dataclass(frozen=True)
class Target:
    """`script` is a file; or it is "", and `source` is to be written into one. `module` must be
    importable then.
    """

    name: str  # as it was typed
    directory: str  # where it is at home
    script: str = ""
    source: str = ""
    callable: str = "application"
    module: str = ""


def find(
    text: str, callable_name: str, working_directory: str | None, other_python: bool = False
) -> Target:
    """Failure, in one line, for what is no target. `other_python`: the application's syntax may not
    be ours.
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
            "WSGID0404", f"{text} does not define `{callable_name}`", other_names(path, names)
        )
    return Target(text, os.path.dirname(path), script=path, callable=callable_name)


def names_in(path: str, shown: str, other_python: bool) -> set[str] | None:
    """What the file binds at its top level; None if that cannot be seen. Failure if it is not there
    or not Python.
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
            "WSGID0404", f"{shown}, line {error.lineno}: {error.msg}", "mend the script"
        ) from error
    except ValueError as error:
        raise Failure("WSGID0404", f"{shown} is not Python: {error}", "mend the script") from error


def names_of(tree: ast.Module) -> set[str] | None:
    """What a module binds at its top level; None if that cannot be seen (a star import, exec,
    globals(), a raise).
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


def other_names(path: str, names: set[str]) -> str:
    """The fix for a script without the name that is looked for."""
    for name in OTHER_NAMES:
        if name in FACTORIES and name in names:
            return f"it has {name}(): add `application = {name}()`"
        if name in names:
            return f"it has {name}: --callable-object {name}"
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
                "WSGID0404", f"{path} does not define `{first}`", other_name_of(module, names)
            )
    return Target(
        text,
        os.path.abspath(directory),
        source=GENERATED.format(what=text, code=code),
        module=module.partition(".")[0],
    )


def file_of(module: str, directory: str) -> str | None:
    """The module's file below `directory`, if it is there."""
    place = os.path.join(directory, *module.split("."))
    candidates = (os.path.join(place, "__init__.py"), place + ".py")
    return next((os.path.abspath(path) for path in candidates if os.path.isfile(path)), None)


def _is_submodule(path: str, name: str) -> bool:
    """`from package import name` also finds a module."""
    return (
        os.path.basename(path) == "__init__.py" and file_of(name, os.path.dirname(path)) is not None
    )


def other_name_of(module: str, names: set[str]) -> str:
    for name in ("application", *OTHER_NAMES):
        if name in names:
            return f"it has {name}: {module}:{name}{'()' if name in FACTORIES else ''}"
    return "name the application that it does define"


# -------- a Django project


def _django(text: str, other_python: bool) -> Target:
    """Its wsgi.py as settings or place tell it; else one is written that does what startproject's
    does.
    """
    directory = os.path.abspath(text)
    manage = os.path.join(directory, "manage.py")
    if not os.path.isfile(manage):
        raise Failure("WSGID0403", f"{text} is a directory without manage.py", FIX)
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
            f"{manage} does not set DJANGO_SETTINGS_MODULE, and there is no */wsgi.py",
            "name the project's WSGI script itself",
        )
    code = (
        f'import os\n\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")\n\n'
        "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()"
    )
    source = GENERATED.format(what=f"the Django project {text}", code=code)
    return Target(text, directory, source=source, module="django")


def wsgi_of(directory: str, settings: str) -> str | None:
    """wsgi.py in the package of the settings or one above it; or the only one there is."""
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
