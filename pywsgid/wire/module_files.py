"""Whether two files are the same module, for scripts that share a process: the daemon compares what
they have imported, `pywsgid check` what they would import.
"""

import os

# Directories of installed packages: two copies of one version are as good as the same file.
INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)


def is_installed(path: str) -> bool:
    return any(part in path for part in INSTALLED)


def is_same(one: str, other: str) -> bool:
    """Whether they are source and bytecode of one module, maybe by a symbolic link; or two equal
    copies of an installed one.
    """
    one, other = os.path.realpath(one), os.path.realpath(other)
    if _stem(one) == _stem(other):
        return True
    if not is_installed(one) or not is_installed(other):
        return False
    try:
        with open(one, "rb") as file, open(other, "rb") as copy:
            return file.read() == copy.read()
    except OSError:
        return False


def _stem(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, name.partition(".")[0])
