/*
 * Ground: what every C file of the module needs, and nothing else.
 *
 * Here: httpd's own headers, the version, the module's record (for ap_get_module_config) and its
 * log index. Not here: anything that belongs to one room. Each file has its functions declared in
 * the header of its room or in one of its own name (config/groups.h, slots/slots.h, common/logs.h).
 *
 * Rules for all C code in apxs/:
 *
 *  - A symbol that crosses files is wsgid_<file>_...; everything else is static.
 *  - A function that returns apr_status_t does not log. A function that returns an HTTP status or
 *    nothing has logged what went wrong.
 *  - Failures are apr_status_t inside the module; request/failures.c alone turns them into HTTP
 *    statuses.
 */
#ifndef WSGID_H
#define WSGID_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "ap_mpm.h"
#include "ap_regex.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "apr_tables.h"
#include "util_script.h"

#include "version.h"

extern module AP_MODULE_DECLARE_DATA wsgid_module;
APLOG_USE_MODULE(wsgid);

#endif
