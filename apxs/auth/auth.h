/*
 * Access to what httpd serves, decided by functions of Python scripts.
 *
 * Public: the hooks, for mod_wsgid.c.
 */
#ifndef WSGID_AUTH_H
#define WSGID_AUTH_H

#include "apr_pools.h"

/* Registers the access checker of WSGIAccessScript, the authentication provider "wsgi" and the
 * authorization provider "wsgi-group". */
void wsgid_auth_register_hooks(apr_pool_t *p);

#endif
