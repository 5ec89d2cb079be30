/*
 * What crosses only options.c (the words of WSGIDaemonProcess) and option_types.c (one value of
 * each type).
 */
#ifndef WSGID_OPTION_TYPES_H
#define WSGID_OPTION_TYPES_H

#include "config/options.h"

#define WSGID_NO_ID 4294967295u /* (uid_t)-1: what httpd has before User is read */

typedef enum {
    WSGID_TYPE_INTEGER,
    WSGID_TYPE_SECONDS,
    WSGID_TYPE_SIZE,
    WSGID_TYPE_OCTAL,
    WSGID_TYPE_FLAG,
    WSGID_TYPE_USER,
    WSGID_TYPE_GROUPID,
    WSGID_TYPE_TEXT,
    WSGID_TYPE_PATH,
    WSGID_TYPE_CHOICE,
    WSGID_TYPE_PATHS,
    WSGID_TYPE_GROUPS,
    WSGID_TYPE_ASSIGNMENTS /* the lists: may be given again */
} wsgid_option_type_e;

/* A line of options.def, without its help. */
typedef struct {
    const char *name;
    wsgid_option_type_e type;
    const char *fallback; /* default, NULL: none */
    apr_int64_t least;
    apr_int64_t most;
    int consumer;
    const char *unit; /* of a CHOICE: its words, separated by bars */
} wsgid_option_t;

/* Parses one value; a list is added to. NULL, or the error line. */
const char *wsgid_option_types_parse(apr_pool_t *p, const wsgid_option_t *option,
                                     wsgid_value_t *value, const char *text);
/* Canonical text of a duration: 1500000 microseconds -> "1.5". */
const char *wsgid_option_types_seconds(apr_pool_t *p, apr_int64_t micros);

#endif
