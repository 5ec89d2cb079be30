/*
 * The variables of WSGIProcessName and similar directives: %{GLOBAL}, %{SERVER}, %{HOST},
 * %{RESOURCE} and %{ENV:name}.
 *
 * Private to config/.
 */
#ifndef WSGID_VARIABLES_H
#define WSGID_VARIABLES_H

#include "wsgid.h"

/* Returns NULL, or the error line for a value that holds an unknown variable, or text around a
 * variable. While the configuration is read. */
const char *wsgid_variables_check(apr_pool_t *p, const char *value);

/* Whether a value holds a variable. */
int wsgid_variables_is_variable(const char *value);

/* Returns the group name that a value stands for, "" for %{GLOBAL}; NULL if only a request can
 * resolve it. */
const char *wsgid_variables_literal(const char *value);

/* Returns what a value stands for in this request, or NULL if its variable is not set. For a value
 * that wsgid_variables_check has accepted. */
const char *wsgid_variables_resolve(request_rec *r, const char *value);

/* Returns the group that a value stands for in this request: the default one for %{ENV:name} that
 * is not set, NULL for any other variable that is not set. */
const char *wsgid_variables_group(request_rec *r, const char *value);

/*
 * The application group that a value stands for where only the virtual host and SCRIPT_NAME are
 * known; NULL if only a request can resolve it. The port is that of the virtual host, whatever the
 * client says. A name of more than WSGID_NAME_MOST bytes is shortened. In p.
 */
const char *wsgid_variables_application_group(apr_pool_t *p, const server_rec *s,
                                              const char *script_name, const char *value);

/* The same for a request. A variable that is not set stays as it is written. */
const char *wsgid_variables_request_application_group(request_rec *r, const char *script_name,
                                                      const char *value);

/* Whether a value may stand for the default group. */
int wsgid_variables_may_be_default(const char *value);

#endif
