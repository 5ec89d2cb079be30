/*
 * WSGITrustedProxies and WSGITrustedProxyHeaders: what a proxy in front of httpd says about the
 * client, and who is believed.
 *
 * Public: wsgid_trusted_proxies_judge and wsgid_trusted_proxies_hides.
 */
#ifndef WSGID_TRUSTED_PROXIES_H
#define WSGID_TRUSTED_PROXIES_H

#include "wsgid.h"

/* What the headers of a request are worth. */
typedef struct {
    unsigned hidden;        /* the headers that the application must not see, for _hides() */
    apr_table_t *variables; /* what a trusted proxy has set in the environ */
} wsgid_judgement_t;

/* Judges the proxies' headers of a request. NULL: no directive is about them. Logs WSGID0183 once.
 */
const wsgid_judgement_t *wsgid_trusted_proxies_judge(request_rec *r);

/* Whether the application must not see the header of this name. judgement: may be NULL. */
int wsgid_trusted_proxies_hides(const wsgid_judgement_t *judgement, const char *name);

/* Of single directives: WSGITrustedProxies and WSGITrustedProxyHeaders, with one of their words. */
const char *wsgid_trusted_proxies_add(cmd_parms *cmd, void *dir, const char *address);
const char *wsgid_trusted_proxies_add_header(cmd_parms *cmd, void *dir, const char *name);

#endif
