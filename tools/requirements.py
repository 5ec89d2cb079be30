"""Prints what a group of pyproject.toml's dependencies needs, one a line: `requirements.py
build|run|test|bench`.

So that .venv gets the very lists that pip would use, without installing the project itself into it.
"""

import sys

try:
    import tomllib
except ImportError:  # Python 3.10: pip has carried its own reader since then
    from pip._vendor import tomli as tomllib


def wanted(project, group):
    if group == "build":
        return project["build-system"]["requires"]
    if group == "run":
        return project["project"]["dependencies"]
    return project["project"]["optional-dependencies"][group]


if __name__ == "__main__":
    with open("pyproject.toml", "rb") as file:
        print("\n".join(wanted(tomllib.load(file), sys.argv[1])))
