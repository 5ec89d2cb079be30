/*
 * What crosses exec from httpd's parent to a daemon: descriptor numbers, exit codes, the statistics page.
 *
 * pywsgid/handover.py is the twin of this file; tests/unit/test_handover.py proves that they agree.
 * No httpd headers here.
 */
#ifndef WSGID_HANDOVER_H
#define WSGID_HANDOVER_H

#include <stdint.h>

/* Descriptors of a daemon; everything from WSGID_FD_END on is closed before exec. */
#define WSGID_FD_LISTENER      3
#define WSGID_FD_CONFIGURATION 4
#define WSGID_FD_LEASH         5
#define WSGID_FD_STATISTICS    6
#define WSGID_FD_PREDECESSOR   7   /* only for a successor */
#define WSGID_FD_END           8

/* Exit codes. Above 63 and below 126, where neither Python nor a shell has codes of its own. */
#define WSGID_EXIT_PRIVILEGES    81
#define WSGID_EXIT_EXEC          82
#define WSGID_EXIT_CONFIGURATION 83
#define WSGID_EXIT_LOAD          84
#define WSGID_EXIT_INTERPRETER   85

/* The statistics page: written by a daemon, so hostile input for httpd. */
#define WSGID_PAGE_SIZE    4096
#define WSGID_PAGE_VERSION 1

#define WSGID_PAGE_BOOTING  0
#define WSGID_PAGE_READY    1
#define WSGID_PAGE_DRAINING 2

typedef struct {
    uint32_t version;
    uint32_t state;              /* WSGID_PAGE_... */
    uint64_t requests_started;
    uint64_t requests_finished;
} wsgid_page_t;

#endif
