"""What crosses exec from httpd's parent to a daemon: descriptor numbers, exit codes, the statistics
page.

The twin of apxs/common/process_abi.h, which explains each; tests/wire/test_process_abi.py proves that
they agree. Constants only.
"""

# Descriptors.
FD_LISTENER = 3
FD_CONFIGURATION = 4
FD_LIFELINE = 5
FD_STATISTICS = 6
FD_WAKEUP = 7  # a byte asks httpd's parent to look at the statistics pages
FD_CONTROL = 8  # listener: questions and wishes of administrators
FD_PREDECESSOR = 9  # only for a successor
FD_END = 10

# What a byte in the lifeline means.
LIFELINE_LEAVE = 0
LIFELINE_FAILED = 1

# Exit codes.
EXIT_PRIVILEGES = 81
EXIT_EXEC = 82
EXIT_CONFIGURATION = 83
EXIT_LOAD = 84
EXIT_INTERPRETER = 85

# The statistics page.
PAGE_SIZE = 65536
PAGE_VERSION = 3
PAGE_FIRST = 32  # microseconds: the first bucket of a histogram; each further one goes twice as far
PAGE_BUCKETS = 24
PAGE_PYTHON = 24  # bytes
# wsgid_page_t, for struct: version, state, requests started, requests finished, wishes, wish,
# watchdog, change; errors, since, threads, reserved, python, queue time, application time,
# histogram of each.
PAGE_FORMAT = "<IIQQIIQQ QQII24s QQ24Q24Q"
PAGE_SCRIPTS = 1024  # where the scripts that are loaded begin: callable:/path NUL ... NUL
PAGE_SCRIPTS_END = 4096
PAGE_ROWS = 4096  # where the rows of the threads begin
PAGE_ROW_SIZE = 256
PAGE_LINE = 240  # bytes
PAGE_ROW_FORMAT = "<QQ240s"  # wsgid_page_row_t, for struct: since, requests, line

PAGE_BOOTING = 0
PAGE_READY = 1
PAGE_DRAINING = 2

# Why a process wishes for a successor.
REPLACE_NONE = 0
REPLACE_ASKED = 1  # an administrator: pywsgid reload
REPLACE_CHANGED = 2  # a script has changed
REPLACE_REQUESTS = 3  # maximum-requests
REPLACE_INTERVAL = 4  # restart-interval
REPLACE_INACTIVITY = 5  # inactivity-timeout
REPLACE_MEMORY = 6  # maximum-rss
REPLACE_STUCK = 7  # a request over request-timeout that cannot be interrupted
