"""Imports a WSGI script as a daemon would, and says how it went: `python -c SOURCE '{"script":
...}'`, by `pywsgid check`.

Rules: it is handed to the application's interpreter as text, because that one's user may not be
able to read this file; so it imports nothing of ours, and does what daemon.py and loader.py do:
home and python-path before all others, the script a module of its own. One line of JSON goes to the
descriptor that it is told: {"error": "", "version": "3.11.2"}.
"""

import json
import os
import sys
import traceback


def add_paths(home, python_path):
    before = sys.path[:]
    if home:
        sys.path.append(home)
    if python_path:
        import site

        for directory in python_path:
            site.addsitedir(directory)
    added = [entry for entry in sys.path if entry not in before]
    named = [entry for entry in (home, *python_path) if entry in before]
    sys.path[:] = added + named + [entry for entry in before if entry not in named]


def load(path, name):
    """ "" or what is wrong."""
    with open(path, "rb") as file:
        source = file.read()
    module = type(sys)("_wsgid_probe")
    module.__file__ = path
    module.__builtins__ = __builtins__
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        return "it cannot be imported: " + describe(error)
    target = module
    for part in name.split("."):
        if not hasattr(target, part):
            return "it does not define %r" % name
        target = getattr(target, part)
    return "" if callable(target) else "%r in it is not callable" % name


def describe(error):
    """The exception, and the last line of a file that it came from."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ][1:]
    if isinstance(error, SyntaxError) and error.filename:
        return "%s (%s, line %s)" % (text, error.filename, error.lineno)
    return "%s (%s, line %d)" % (text, frames[-1].filename, frames[-1].lineno) if frames else text


def main():
    order = json.loads(sys.argv[1])
    del sys.path[0]  # "" of python -c; a daemon has none
    sys.argv = ["mod_wsgid"]
    try:
        os.chdir(order["home"] or os.environ.get("HOME", "/"))
    except OSError:
        os.chdir("/")
    try:
        add_paths(order["home"], order["python_path"])
        answer = load(order["script"], order["callable"])
    except OSError as error:
        answer = "it cannot be read: %s" % error.strerror
    os.write(
        order["descriptor"],
        json.dumps({"error": answer, "version": sys.version.split()[0]}).encode(),
    )
    os._exit(0)  # not through threads and atexit handlers of the application


main()
