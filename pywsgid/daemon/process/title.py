"""The name under which ps and top show the process.

Rules: no ctypes, no setproctitle: the title is written through /proc/self/mem to where the kernel
finds the arguments. Where that is not allowed the process keeps its title; nothing depends on it.
"""

from __future__ import annotations

ARG_START, ARG_END = 47, 48  # fields 48 and 49 of /proc/self/stat, proc(5)


def set_title(title: str) -> bool:
    """Replaces the command line (as far as there is room) and the name of the process by `title`.
    False: not allowed here.
    """
    data = title.encode("utf-8", "surrogateescape")
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(data[:15])
        start, end = _argument_area()
        with open("/proc/self/mem", "r+b", buffering=0) as file:
            file.seek(start)
            # The last byte stays 0, or the kernel assumes that the title continues in the
            # environment.
            file.write(data[: end - start - 1].ljust(end - start, b"\0"))
    except (OSError, ValueError, IndexError, OverflowError):
        return False
    return True


def _argument_area() -> tuple[int, int]:
    """The addresses where the arguments begin and end."""
    with open("/proc/self/stat", "rb", buffering=0) as file:
        text = file.read(4096)
    # The name, in parentheses, may contain blanks; what follows it begins with field 3.
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[ARG_START - 2]), int(fields[ARG_END - 2])
