/*
 * The id of a request in log lines, and the most verbose LogLevel.
 *
 * The id of a request is httpd's own: mod_unique_id's UNIQUE_ID if that module is loaded, otherwise
 * one that the core makes of the time, the process and the thread. httpd makes the id when it logs
 * the first line about the request. We ask for it for every request that goes to a daemon, so that
 * the application knows it, %L of an access log shows it, and all lines of the request have the
 * same id.
 *
 * Nothing is logged here.
 */
#include "common/logs.h"

#include "wsgid.h"

#include "http_main.h"

#define ID_MAX 256 /* longer than any id; the output of an item of ErrorLogFormat is cut there */

/* ---- the id of a request */

/* Whether httpd writes lines of its own when it makes the id (ErrorLogFormat request). It does so
 * only if the request has no id yet, so we must not set it. */
static int announces_requests(const core_server_config *core)
{
    return core->error_log_req && core->error_log_req->nelts > 0;
}

const char *wsgid_logs_request_id(request_rec *r)
{
    /* as httpd does: a subrequest logs with the id of its request */
    request_rec *top = r->main ? r->main : r;
    const char *id = top->log_id;

    if (!id && ap_run_generate_log_id(top->connection, top, &id) != OK) {
        return NULL;
    }
    if (!announces_requests(ap_get_core_module_config(top->server->module_config))) {
        top->log_id = id;
    }
    return id;
}

/* Whether ErrorLogFormat shows the id in each line about this request (%L, %{UNIQUE_ID}e). */
static int is_shown(request_rec *r, const char *id)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    const apr_array_header_t *format = core->error_log_format;
    request_rec named =
        *r; /* a copy with the id, which the request may not have (announces_requests) */
    ap_errorlog_info info = { .s = r->server, .c = r->connection, .r = &named, .rmain = &named };
    int i;

    named.log_id = id;
    for (i = 0; format && i < format->nelts; i++) {
        const ap_errorlog_format_item *item = &APR_ARRAY_IDX(format, i, ap_errorlog_format_item);
        char shown[ID_MAX] = "";

        if (item->func && item->func(&info, item->arg, shown, sizeof(shown)) > 0
            && !strcmp(shown, id)) {
            return 1;
        }
    }
    return 0;
}

const char *wsgid_logs_mark(request_rec *r)
{
    const char *id = wsgid_logs_request_id(r);

    return id && !is_shown(r, id) ? apr_pstrcat(r->pool, "[request ", id, "] ", NULL) : "";
}

/* ---- levels */

static int more_verbose(int one, int other)
{
    return one > other ? one : other;
}

/* Returns the most verbose LogLevel of these sections (<Directory>, <Location>, <Files>, <If>) and
 * the sections nested in them, or -1 if none sets it. */
static int level_of_sections(const apr_array_header_t *sections)
{
    int level = -1, i;

    for (i = 0; sections && i < sections->nelts; i++) {
        const core_dir_config *core = ap_get_core_module_config(
            APR_ARRAY_IDX(sections, i, ap_conf_vector_t *));

        if (core->log) {
            level = more_verbose(level, ap_get_module_loglevel(core->log, APLOG_MODULE_INDEX));
        }
        level = more_verbose(level, level_of_sections(core->sec_file));
        level = more_verbose(level, level_of_sections(core->sec_if));
    }
    return level;
}

int wsgid_logs_most_verbose(void)
{
    const server_rec *s;
    int level = 0;

    for (s = ap_server_conf; s; s = s->next) {
        const core_server_config *core = ap_get_core_module_config(s->module_config);
        const core_dir_config *outside = ap_get_core_module_config(s->lookup_defaults);

        level = more_verbose(level, ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX));
        level = more_verbose(level, level_of_sections(core->sec_dir));
        level = more_verbose(level, level_of_sections(core->sec_url));
        level = more_verbose(level, level_of_sections(outside->sec_file));
        level = more_verbose(level, level_of_sections(outside->sec_if));
    }
    return level;
}
