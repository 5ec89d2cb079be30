/*
 * The directives: httpd's command table, made of directives.def.
 *
 * Public: this header is for mod_wsgid.c.
 */
#ifndef WSGID_DIRECTIVES_H
#define WSGID_DIRECTIVES_H

#include "wsgid.h"

/* For the module record. */
extern const command_rec wsgid_directives_table[];

/* pre_config hook: forgets everything that the previous reading left in config/. Returns OK, or an
 * HTTP error after one line in the log if mod_wsgi is loaded beside us. */
int wsgid_directives_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);

#endif
