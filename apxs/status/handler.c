/*
 * The handlers of the status page: SetHandler wsgid-status, and a section of mod_status's page.
 *
 * The query chooses the output, as outputs[] says. The configuration decides who may see it, as for
 * mod_status (Require local). Nothing can be changed through the page.
 */
#include "status/status.h"

#include "mod_status.h"

typedef void put_t(request_rec *r, const wsgid_status_t *status);

static const struct {
    const char *query;
    const char *type;
    put_t *put;
} outputs[] = { { "", "text/html; charset=utf-8", wsgid_status_html_put },
                { "auto", "text/plain; charset=utf-8", wsgid_status_auto_put },
                { "json", "application/json", wsgid_status_json_put },
                { "prometheus", "application/openmetrics-text; version=1.0.0; charset=utf-8",
                  wsgid_status_metrics_put } };

#define OUTPUTS (sizeof(outputs) / sizeof(*outputs))

/* Error pages get them, too. */
static void set_headers(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->err_headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->err_headers_out, "Referrer-Policy", "no-referrer");
    apr_table_setn(r->err_headers_out, "Content-Security-Policy", wsgid_status_html_policy);
}

/* httpd's own error page would not say which outputs there are. */
static int refuse_query(request_rec *r)
{
    r->status = HTTP_BAD_REQUEST;
    ap_set_content_type(r, "text/plain; charset=utf-8");
    ap_rputs(
        "The status page has no such output. Use no query (HTML), ?auto, ?json or ?prometheus\n",
        r);
    return OK;
}

static int refuse_method(request_rec *r)
{
    ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1); /* and HEAD with it */
    return HTTP_METHOD_NOT_ALLOWED;
}

/* Only the first name in the query counts: Prometheus sends ?prometheus= */
static int is_output(const char *query, const char *name)
{
    apr_size_t length = strcspn(query, "=&");

    return *name ? length == strlen(name) && !strncmp(query, name, length) : !*query;
}

static int handle(request_rec *r)
{
    const char *query = r->args ? r->args : "";
    apr_size_t i;

    if (!r->handler || strcmp(r->handler, WSGID_STATUS_HANDLER)) {
        return DECLINED;
    }
    set_headers(r);
    if (r->method_number != M_GET) {
        return refuse_method(r);
    }
    for (i = 0; i < OUTPUTS; i++) {
        if (is_output(query, outputs[i].query)) {
            ap_set_content_type(r, outputs[i].type);
            outputs[i].put(r, wsgid_status_model_collect(r->pool));
            return OK;
        }
    }
    return refuse_query(r);
}

/* ---- mod_status */

static int add_section(request_rec *r, int flags)
{
    const wsgid_status_t *status = wsgid_status_model_collect(r->pool);

    if (flags & AP_STATUS_SHORT) {
        wsgid_status_auto_put(r, status);
    }
    else {
        wsgid_status_html_put_section(r, status, !(flags & AP_STATUS_NOTABLE));
    }
    return OK;
}

void wsgid_status_handler_register_hooks(void)
{
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
    /* does nothing unless mod_status is loaded */
    APR_OPTIONAL_HOOK(ap, status_hook, add_section, NULL, NULL, APR_HOOK_MIDDLE);
}
