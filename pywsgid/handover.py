"""What crosses exec from httpd's parent to a daemon: descriptor numbers, exit codes, the statistics page.

The twin of apxs/handover.h, which explains each; tests/unit/test_handover.py proves that they agree. Constants only.
"""

# Descriptors.
FD_LISTENER = 3
FD_CONFIGURATION = 4
FD_LEASH = 5
FD_STATISTICS = 6
FD_PREDECESSOR = 7  # only for a successor
FD_END = 8

# Exit codes.
EXIT_PRIVILEGES = 81
EXIT_EXEC = 82
EXIT_CONFIGURATION = 83
EXIT_LOAD = 84
EXIT_INTERPRETER = 85

# The statistics page: version, state, requests started, requests finished.
PAGE_SIZE = 4096
PAGE_VERSION = 1
PAGE_FORMAT = "<IIQQ"  # for struct; wsgid_page_t

PAGE_BOOTING = 0
PAGE_READY = 1
PAGE_DRAINING = 2
