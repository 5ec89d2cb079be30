/*
 * The options of WSGIDaemonProcess: their ids, their values, and the words of a line.
 *
 * Public: the ids and values. The rest is for the files of config/ alone.
 */
#ifndef WSGID_OPTIONS_H
#define WSGID_OPTIONS_H

#include "wsgid.h"

/* ---- public */

typedef enum {
#define OPTION(id, ...) WSGID_OPT_##id,
#include "config/options.def"
#undef OPTION
    WSGID_OPT_COUNT
} wsgid_option_e;

/* The value of an option. text is NULL for an option that is not given and has no default. */
typedef struct {
    int given;                /* named in the configuration */
    int is_adjusted;          /* to the bounds of the option, while a line is read */
    apr_int64_t number;       /* SIZE in bytes, SECONDS in microseconds, id of USER and GROUP,
                                 upper bound of a RANGE */
    apr_int64_t least;        /* lower bound of a RANGE */
    const char *text;         /* canonical text, as the daemon gets it */
    apr_array_header_t *list; /* of a list: const char * each */
} wsgid_value_t;

/* Returns the name of an option, as in the configuration. */
const char *wsgid_options_name(wsgid_option_e option);

/* Whether an option is part of the daemon's configuration (consumer DAEMON or BOTH). */
int wsgid_options_is_for_daemon(wsgid_option_e option);

/* ---- for config/ */

/*
 * Parses the words behind the group's name into values[WSGID_OPT_COUNT], which is zeroed or has
 * values already. Returns NULL, or one line for httpd to report. While the configuration is read.
 */
const char *wsgid_options_parse(const cmd_parms *cmd, wsgid_value_t *values, const char *words);

/*
 * Sets the options that are not given to their defaults in options.def. Returns NULL, or one line
 * to log. In check_config; see option_defaults.h for the defaults that are not in that table.
 */
const char *wsgid_options_apply_defaults(apr_pool_t *p, wsgid_value_t *values);

/* Whether both values[WSGID_OPT_COUNT] were given the same options. Before
 * wsgid_options_apply_defaults.
 */
int wsgid_options_equal(const wsgid_value_t *a, const wsgid_value_t *b);

/*
 * Takes the next NAME=VALUE from *words; quotes may be around the value or around the whole word.
 * Returns 0 at the end of the line. *value is NULL for a word without '='.
 */
int wsgid_options_next_word(apr_pool_t *p, const char **words, const char **name,
                            const char **value);

/* Gives an option its value, in the place of an earlier one; a list is extended. Empty, where that
 * is allowed, means that the option is not given, and so does 0 for a size that must be larger.
 * Gives notice of what is not used as it is written. Returns NULL, or one line for httpd to report.
 */
const char *wsgid_options_set(const cmd_parms *cmd, wsgid_value_t *values, wsgid_option_e option,
                              const char *text);

#endif
