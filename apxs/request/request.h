/*
 * The door of this folder: what mod_wsgid.c registers with httpd, and questions, for auth/.
 */
#ifndef WSGID_REQUEST_H
#define WSGID_REQUEST_H

#include "config/route.h"
#include "wsgid.h"

/* request.c: the content handler. DECLINED for requests that are not for this module, else an HTTP
 * status, or OK once the response is sent. What fails has been logged. */
int wsgid_request_handler(request_rec *r);

/*
 * request.c: asks a function that decides about r, in whatever phase r is. It sees r's environ and
 * the question: a name, its value and so on, up to NULL.
 * OK: its answer is in the status and the headers_out of *answer, which lives as long as r.
 * Otherwise an HTTP status of 400 or more: there is no answer, and the log says why. socket-timeout
 * limits the wait.
 */
int wsgid_request_ask(request_rec *r, const wsgid_route_t *route, const char *const *question,
                      const request_rec **answer);

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
