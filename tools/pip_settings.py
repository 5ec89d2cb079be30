"""Writes this machine's settings of pip into a file for a machine of bare_machines.sh.

`pip_settings.py FILE` also prints the local files and directories that the settings name, one a
line, each with its place on the other machine: a directory has the same place; a file, which a
package of that machine may replace, is below /host.
"""

import ast
import configparser
import os
import re
import subprocess
import sys


def settings():
    """{section: {key: value}}; what the environment says comes last, as pip has it."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pairs = [line.partition("=") for line in done.stdout.splitlines()]
    found = {}
    for name, _, value in sorted(pairs, key=lambda pair: pair[0].startswith(":env:")):
        section, _, key = name.replace(":env:", "global").partition(".")
        found.setdefault(section, {})[key] = ast.literal_eval(value)
    return found


def places(value):
    """{path: its place on the other machine} for the local paths in a value.

    Local paths are /a/path and file:///a/path.
    """
    paths = [re.sub("^file://", "", word) for word in value.split()]
    there = [path for path in paths if path.startswith("/") and os.path.exists(path)]
    return {path: path if os.path.isdir(path) else "/host" + path for path in there}


def main(target):
    written, bound = configparser.RawConfigParser(), {}
    for section, pairs in settings().items():
        written[section] = {}
        for key, value in pairs.items():
            for path, place in places(value).items():
                if "file://" + path in value:  # a local index links to files beside it
                    bound[os.path.dirname(path)] = os.path.dirname(place)
                else:
                    bound[path] = place
                value = value.replace(path, place)
            written[section][key] = value
    with open(target, "w", encoding="utf-8") as file:
        written.write(file)
    for path, place in sorted(bound.items()):
        print(path, place)


if __name__ == "__main__":
    main(sys.argv[1])
