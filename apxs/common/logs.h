/*
 * What our log lines say about a request, and how verbose httpd's LogLevel is for us.
 */
#ifndef WSGID_LOGS_H
#define WSGID_LOGS_H

#include "httpd.h"

/*
 * Returns the id of this request, the one that httpd's %L shows; asks httpd to make it if there is
 * none yet. NULL if no module makes one. A subrequest has the id of its request. Only in the thread
 * that serves the request.
 */
const char *wsgid_logs_request_id(request_rec *r);

/*
 * Returns the prefix of our log lines about this request: "[request ID] ", or "" where the server's
 * ErrorLogFormat shows the id anyway, or where there is no id. Lives in r->pool. It evaluates
 * ErrorLogFormat each time: call it only when a line is about to be logged.
 */
const char *wsgid_logs_mark(request_rec *r);

/*
 * Returns the most verbose LogLevel for us anywhere in the configuration, an APLOG_ level: httpd
 * discards every message above it, whatever request it belongs to. In httpd's parent, once the
 * configuration has been read.
 */
int wsgid_logs_most_verbose(void);

#endif
