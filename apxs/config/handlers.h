/*
 * The handlers that the configuration sets, outside of aliases.
 *
 * Private to config/.
 */
#ifndef WSGID_HANDLERS_H
#define WSGID_HANDLERS_H

#include "wsgid.h"

#define WSGID_HANDLER_TYPE "application/x-httpd-wsgi" /* mod_wsgi's, for AddType */

/* Whether a handler may lead to a script where no directive names a group. It may do so in every
 * .htaccess file that is allowed to set one. In check_config. */
int wsgid_handlers_want_default(void);

/* Whether the configuration lets a handler, a .htaccess file or WSGIDispatchScript choose what
 * runs: then only requests show it. Once it has been read. */
int wsgid_handlers_are_anywhere(void);

#endif
