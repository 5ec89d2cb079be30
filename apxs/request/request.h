/*
 * The door of this folder: what mod_wsgid.c registers with httpd. No other room uses it.
 */
#ifndef WSGID_REQUEST_H
#define WSGID_REQUEST_H

#include "wsgid.h"

/* request.c: the content handler. DECLINED for requests that are not for this module, else an HTTP
 * status, or OK once the response is sent. What fails has been logged. */
int wsgid_request_handler(request_rec *r);

/* access_log.c: the log_transaction hook. Makes the notes that access logs can show. DECLINED. */
int wsgid_access_log_log_transaction(request_rec *r);

/* child_init hooks. pchild: the child's pool. */

/* dispatch.c: makes room for this child's idle connections. Logs WSGID0150. */
void wsgid_dispatch_child_init(apr_pool_t *pchild, server_rec *s);
/* spool.c: chooses the directory of temporary files. */
void wsgid_spool_child_init(apr_pool_t *pchild);
/* keepalive.c: finds out whether waiting for clients pays with this MPM. */
void wsgid_keepalive_child_init(void);

#endif
