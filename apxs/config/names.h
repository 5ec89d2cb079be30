/*
 * The names of mod_wsgi that this module has, too.
 *
 * Public: this header is for mod_wsgid.c.
 */
#ifndef WSGID_NAMES_H
#define WSGID_NAMES_H

#include "wsgid.h"

/* Where the module registers its hooks: adds the names, until p (pconf) is cleared. */
void wsgid_names_add(apr_pool_t *p);

/* In pre_config. Returns OK, or an HTTP error after one line in the log if mod_wsgi is loaded, too,
 * or this module twice. */
int wsgid_names_check(void);

#endif
