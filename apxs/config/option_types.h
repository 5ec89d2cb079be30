/*
 * The types of WSGIDaemonProcess options.
 *
 * Private to config/: options.c parses a line, option_types.c each value.
 */
#ifndef WSGID_OPTION_TYPES_H
#define WSGID_OPTION_TYPES_H

#include "config/options.h"

#define WSGID_NO_ID 4294967295u /* (uid_t)-1: no user; httpd's User if it is not set */

typedef enum {
    WSGID_TYPE_INTEGER,
    WSGID_TYPE_RANGE, /* N, or MIN-MAX; the option's least is that of MIN */
    WSGID_TYPE_SECONDS,
    WSGID_TYPE_SIZE,
    WSGID_TYPE_OCTAL,
    WSGID_TYPE_FLAG,
    WSGID_TYPE_USER,
    WSGID_TYPE_GROUPID,
    WSGID_TYPE_TEXT,
    WSGID_TYPE_PATH,
    WSGID_TYPE_CHOICE,
    WSGID_TYPE_PATHS, /* from here on lists, which may be given several times */
    WSGID_TYPE_GROUPS,
    WSGID_TYPE_ASSIGNMENTS
} wsgid_option_type_e;

/* An entry of options.def, without its help. */
typedef struct {
    const char *name;
    wsgid_option_type_e type;
    const char *fallback; /* default; NULL: none */
    apr_int64_t least;
    apr_int64_t most;
    int consumer;     /* options.c */
    const char *unit; /* of a CHOICE: its words, separated by bars */
} wsgid_option_t;

/*
 * Parses one value of an option into *value; a list is extended. Returns NULL, or one line for
 * httpd to report. While the configuration is read.
 */
const char *wsgid_option_types_parse(apr_pool_t *p, const wsgid_option_t *option,
                                     wsgid_value_t *value, const char *text);

/* Returns the canonical text of a duration, "1.5" for 1500000 microseconds. */
const char *wsgid_option_types_seconds(apr_pool_t *p, apr_int64_t micros);

#endif
