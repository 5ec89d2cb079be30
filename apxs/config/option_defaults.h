/*
 * Defaults of WSGIDaemonProcess options that depend on httpd's configuration or on the system.
 *
 * Private to config/.
 */
#ifndef WSGID_OPTION_DEFAULTS_H
#define WSGID_OPTION_DEFAULTS_H

#include "config/options.h"

/*
 * Sets user, group, socket-user, umask, python and socket-timeout where they are not given; without
 * root, removes options that need root, with a notice for each. s: the group's server, for its
 * Timeout; where: the place of its definition, for notices. Returns NULL, or one line to log. In
 * check_config, after wsgid_options_apply_defaults.
 */
const char *wsgid_option_defaults_compute(apr_pool_t *p, server_rec *s, const char *where,
                                          wsgid_value_t *values);

#endif
