/*
 * The route of a request: everything that the configuration says about it, looked up once.
 *
 * The content handler asks for the route at its start; the environ, the response, the failures and
 * the access log read the route and look nothing up again. A route says where a request goes and
 * how; it holds nothing of what happens to the request on the way (that is the exchange's).
 *
 * Public: other rooms include this header.
 */
#ifndef WSGID_ROUTE_H
#define WSGID_ROUTE_H

#include "httpd.h"

/* The handler that an alias sets; AddHandler and SetHandler may name it, too, and mod_wsgi's. */
#define WSGID_HANDLER                   "wsgid-script"
#define WSGID_HANDLER_WSGI              "wsgi-script"
#define WSGID_DEFAULT_CALLABLE          "application" /* the name of the application in a script */
#define WSGID_DEFAULT_APPLICATION_GROUP "%{RESOURCE}" /* each script has its own */

/* WSGIMapHEADToGET. */
typedef enum { WSGID_MAP_HEAD_AUTO, WSGID_MAP_HEAD_ON, WSGID_MAP_HEAD_OFF } wsgid_map_head_e;

/* WSGIChunkedRequest. */
typedef enum { WSGID_CHUNKED_OFF, WSGID_CHUNKED_ON, WSGID_CHUNKED_BUFFER } wsgid_chunked_e;

/* What a function of a script decides, and the directive that names the script. */
typedef enum {
    WSGID_DECIDER_ACCESS,   /* WSGIAccessScript */
    WSGID_DECIDER_USER,     /* WSGIAuthUserScript */
    WSGID_DECIDER_GROUP,    /* WSGIAuthGroupScript */
    WSGID_DECIDER_DISPATCH, /* WSGIDispatchScript */
    WSGID_DECIDER_COUNT
} wsgid_decider_e;

/* Whether the configuration gives this request a group. */
typedef enum {
    WSGID_ROUTE_CHOSEN,   /* yes, by this name; whether there is such a group is not checked here */
    WSGID_ROUTE_UNSET,    /* no: the variable in route->group is not set */
    WSGID_ROUTE_FORBIDDEN /* no: WSGIRestrictProcess forbids route->group */
} wsgid_route_choice_e;

/* Options of a WSGIScriptAlias line, the directives of the directory and the defaults, in this
 * order, with variables resolved. Lives in the request's pool and does not change. */
typedef struct {
    /* the URL, split; each path has one slash where the client sent several */
    const char *script; /* SCRIPT_FILENAME: the script file, or what httpd found in its place */
    const char *script_name; /* SCRIPT_NAME: the URL path that leads to the script */
    const char *path_info;   /* PATH_INFO: the URL path behind it; "" if there is none */
    const char *mount_point; /* the URL of the WSGIScriptAlias line; NULL without one, and for
                                WSGIScriptAliasMatch */
    int is_aliased;          /* by one of the two: Options ExecCGI is not needed */

    /* where it goes */
    wsgid_route_choice_e choice; /* unless CHOSEN, the request must be refused */
    const char *group;           /* "": the default group; UNSET: the variable, as it is written */
    const char *application_group;
    const char *callable;
    const char *handler_script; /* loaded instead of the script, which is its resource; "": none */

    /* how: 0 or 1 */
    int pass_authorization; /* the application sees the Authorization header */
    int error_override;     /* httpd's ErrorDocument replaces pages with an error status */
    int script_reloading;   /* changes of the script file are looked for */
    wsgid_map_head_e map_head_to_get;
    wsgid_chunked_e chunked_request; /* what becomes of a request body of unknown length */
    const char *user_header;         /* becomes r->user and is not sent to the client; NULL: none */
    /* const char *: absolute directories that X-Sendfile may name files in; NULL: X-Sendfile is a
     * header like any other */
    const apr_array_header_t *sendfile;
} wsgid_route_t;

/*
 * The route of a request whose handler is ours, or NULL for any other request.
 *
 * r: past the fixups, so that r->per_dir_config, r->filename and r->path_info are final.
 * Called by the content handler, once for each request.
 */
const wsgid_route_t *wsgid_route_find(request_rec *r);

/*
 * The route to a function that decides about the request, or NULL if no directive names a script
 * for that here.
 *
 * r: past map_to_storage. function: "NAME()", for the daemon.
 */
const wsgid_route_t *wsgid_route_to_decider(request_rec *r, wsgid_decider_e decider,
                                            const char *function);

/*
 * The route as WSGIDispatchScript wants it: with the process_group, application_group and
 * callable_object of its answer, or those of the route that it leaves alone.
 */
const wsgid_route_t *wsgid_route_dispatch(request_rec *r, const wsgid_route_t *route,
                                          const apr_table_t *answer);

#endif
