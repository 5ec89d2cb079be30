"""What ps and top show of the process.

Rules: no ctypes, no setproctitle: the memory where the kernel finds the arguments is written
through /proc/self/mem. Where that is not allowed the process keeps the title it has; nothing
depends on it.
"""

ARG_START, ARG_END = 47, 48  # fields 48 and 49 of /proc/self/stat, proc(5)


def set_title(title):
    """Puts `title` in place of the command line (as far as it fits) and of the process's name.
    False: not allowed.
    """
    data = title.encode("utf-8", "surrogateescape")
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(data[:15])
        start, end = _argument_area()
        with open("/proc/self/mem", "r+b", buffering=0) as file:
            file.seek(start)
            # The last byte stays 0, or the kernel takes it that the title goes on in the
            # environment.
            file.write(data[: end - start - 1].ljust(end - start, b"\0"))
    except (OSError, ValueError, IndexError, OverflowError):
        return False
    return True


def _argument_area():
    with open("/proc/self/stat", "rb", buffering=0) as file:
        text = file.read(4096)
    fields = text[
        text.rindex(b")") + 2 :
    ].split()  # the name may hold blanks; what follows begins with field 3
    return int(fields[ARG_START - 2]), int(fields[ARG_END - 2])
