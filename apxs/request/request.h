/*
 * What mod_wsgid.c hooks into httpd for requests. What the files of this room share is in
 * exchange.h.
 */
#ifndef WSGID_REQUEST_H
#define WSGID_REQUEST_H

#include "wsgid.h"

/* Content handler: sends a request to a daemon and its response to the client. Returns DECLINED for
 * a request whose handler is not ours, OK, or an HTTP status after one line in the log. */
int wsgid_request_handler(request_rec *r);

/* log_transaction hook: the notes that access logs may show. */
int wsgid_access_log_log_transaction(request_rec *r);

/* child_init: the idle connections of this child. */
void wsgid_dispatch_child_init(apr_pool_t *pchild, server_rec *s);

/* child_init: whether waiting for a client's next request may pay off here. */
void wsgid_keepalive_child_init(apr_pool_t *pchild, server_rec *s);

#endif
