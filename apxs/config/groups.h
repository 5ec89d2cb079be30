/*
 * The daemon groups of a configuration.
 *
 * Public: the type and the look-ups, for every room. The rest is for the files of config/ alone.
 */
#ifndef WSGID_GROUPS_H
#define WSGID_GROUPS_H

#include "config/options.h"
#include "slots/slots.h"
#include "wsgid.h"

/* ---- public */

#define WSGID_DEFAULT_GROUP "" /* the name of the default group, %{GLOBAL} */

/* A daemon group. Lives in pconf; after check_config only the fields of other rooms change. */
typedef struct {
    const char *name;   /* WSGID_DEFAULT_GROUP for the default one */
    const char *label;  /* for messages: the name, or "%{GLOBAL}" */
    server_rec *server; /* its ErrorLog is this server's */
    const char *where;  /* "file:line" of its definition */
    wsgid_value_t value[WSGID_OPT_COUNT];
    apr_array_header_t *pools; /* wsgid_pool_t * (pools.h) */

    const struct wsgid_identity_t *identity; /* spawn/privileges.c; known from post_config on */
    int output[2];        /* guardian/: the pipe for what its daemons write: read end, write end */
    const char *ask_path; /* guardian/: where its guardian is asked for processes of an application
                             group, */
    struct sockaddr_un ask; /* and its address for children of httpd */

    /* request/, in each child of httpd */
    struct wsgid_idle_t *idle; /* dispatch.c: idle connections */
    apr_uint32_t last_wait;    /* arrival.c: of this child's last request, in microseconds */
} wsgid_group_t;

#define WSGID_NUMBER(group, id) ((group)->value[WSGID_OPT_##id].number)
#define WSGID_TEXT(group, id)   ((group)->value[WSGID_OPT_##id].text)

/* Returns the group of this name, or NULL. Any process, any thread, once the configuration has been
 * read. */
wsgid_group_t *wsgid_groups_find(const char *name);

/* Returns what messages call a group of this name: the name, or "%{GLOBAL}". */
const char *wsgid_groups_label(const char *name);

/* Returns every group of this configuration in the order of definition, wsgid_group_t * each. */
const apr_array_header_t *wsgid_groups_all(void);

/* Returns the labels of all groups for a message: "a, b, c", or "none". */
const char *wsgid_groups_known(apr_pool_t *p);

/* ---- for config/ */

/* pre_config: forgets the groups of the previous configuration. */
void wsgid_groups_reset(apr_pool_t *pconf);

/*
 * Defines a group; a line with the same options again is allowed. words: what follows the name.
 * Returns NULL, or one line for httpd to report. While the configuration is read.
 */
const char *wsgid_groups_define(cmd_parms *cmd, const char *name, const char *words);

/* Sets the default of an option for all groups that do not name it: WSGIPythonHome and
 * WSGIPythonPath. Returns NULL, or one line for httpd to report. */
const char *wsgid_groups_set_default(const cmd_parms *cmd, wsgid_option_e option,
                                     const char *value);

/* Gives a group the default of an option that wsgid_groups_set_default has set, if the group does
 * not name the option. */
void wsgid_groups_apply_default(wsgid_group_t *group, wsgid_option_e option);

/* Sets an environment variable for all groups, behind what the same name has already if there is a
 * joint. */
void wsgid_groups_set_variable(apr_pool_t *p, const char *name, const char *value,
                               const char *joint);

/* Gives a group the variables for all groups; its own ones (env=) come after them. */
void wsgid_groups_apply_variables(apr_pool_t *p, wsgid_group_t *group);

/* Adds a group without options and returns it. name and where live in p or longer. */
wsgid_group_t *wsgid_groups_add(apr_pool_t *p, const char *name, server_rec *s, const char *where);

#endif
