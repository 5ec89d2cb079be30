/*
 * Private header of mod_wsgid: the types and functions that cross its C files.
 *
 * Rules: a symbol that crosses files is wsgid_<file>_...; what returns apr_status_t does not log,
 * what returns an HTTP status or void has logged. Inside the module failures are apr_status_t; only
 * failures.c turns them into HTTP statuses. What crosses only the files of one concern is in the
 * header of that concern: configuration.h, options.h, supervisor.h, spawn.h, exchange.h, status.h,
 * totals.h.
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

#include "common/process_abi.h"
#include "common/spin.h"
#include "common/wire.h"
#include "config/route.h"

#define WSGID_VERSION "0.1.0"

#define WSGID_DEFAULT_GROUP "" /* what %{GLOBAL} names: the default group */

extern module AP_MODULE_DECLARE_DATA wsgid_module;
APLOG_USE_MODULE(wsgid);

/* ---- options.c: WSGIDaemonProcess words */

typedef enum {
#define OPTION(id, ...) WSGID_OPT_##id,
#include "config/options.def"
#undef OPTION
    WSGID_OPT_COUNT
} wsgid_option_e;

/* One value. text is NULL for an option that was not given and has no default. */
typedef struct {
    int given;                /* named in the configuration */
    apr_int64_t number;       /* SIZE in bytes, SECONDS in microseconds, id of USER and GROUP */
    const char *text;         /* canonical text, as the daemon gets it */
    apr_array_header_t *list; /* LIST: const char * each */
} wsgid_value_t;

const char *wsgid_options_name(wsgid_option_e option);
/* Whether the daemon is told of it (DAEMON in options.def). */
int wsgid_options_is_for_daemon(wsgid_option_e option);

/* ---- clock.c: the clock of limits and waits */

/*
 * Microseconds of CLOCK_MONOTONIC, the same in httpd's parent, its children and the forked process.
 * Not to be shown, nor compared with apr_time_now(). It may begin with the machine, so 0 is not
 * long ago.
 */
apr_time_t wsgid_clock_now(void);

/* ---- groups.c: the known daemon groups */

typedef struct wsgid_slot_t wsgid_slot_t;

typedef struct {
    const char *path;
    const char *callable;
} wsgid_script_t;

/* A daemon group. Lives in pconf. */
typedef struct {
    const char *name;   /* WSGID_DEFAULT_GROUP for the default one */
    const char *label;  /* for messages: the name, or "%{GLOBAL}" */
    server_rec *server; /* whose ErrorLog it has */
    const char *where;  /* "file:line" of its definition */
    wsgid_value_t value[WSGID_OPT_COUNT];
    apr_array_header_t *scripts; /* wsgid_script_t: loaded before a daemon is ready */
    wsgid_slot_t **slots; /* set by the supervisor; shared memory that outlives this struct */
    int slot_count;
    struct wsgid_idle_t *idle; /* dispatch.c: this child's idle connections */
    wsgid_spin_t answers;      /* channel.c: what this child knows of waits for its daemons */
} wsgid_group_t;

#define WSGID_NUMBER(group, id) ((group)->value[WSGID_OPT_##id].number)
#define WSGID_TEXT(group, id)   ((group)->value[WSGID_OPT_##id].text)

/* Adds a group while the configuration is read. The same again is fine; NULL, or the error line
 * naming both places. */
const char *wsgid_groups_define(cmd_parms *cmd, const char *name, const char *words);
/* NULL if there is none. */
wsgid_group_t *wsgid_groups_find(const char *name);
/* Every group of this configuration, in order of definition. */
const apr_array_header_t *wsgid_groups_all(void); /* wsgid_group_t * */
/* "a, b, c", for messages. */
const char *wsgid_groups_known(apr_pool_t *p);
/* post_config: the default group if need be, defaults, preloaded scripts. OK or an HTTP error,
 * logged. */
int wsgid_groups_complete(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server);
/* pre_config: forgets all. */
void wsgid_groups_reset(apr_pool_t *pconf);

/* ---- directives.c, aliases.c, variables.c */

/* A WSGIScriptAlias or WSGIScriptAliasMatch line. */
typedef struct {
    const char *url;        /* prefix, or the expression's text */
    ap_regex_t *expression; /* NULL for a literal alias */
    const char *target;     /* script, or directory of scripts; with $1 for an expression */
    const char *group;      /* may hold variables; NULL: as WSGIProcessName says */
    const char *application_group;
    const char *callable;
    int pass_authorization; /* WSGID_UNSET, 0, 1 */
} wsgid_alias_t;

#define WSGID_UNSET (-1)

typedef struct {
    const char *socket_prefix;   /* main server only */
    apr_array_header_t *aliases; /* wsgid_alias_t */
} wsgid_server_config_t;

extern const command_rec wsgid_directives_directives[];
void *wsgid_directives_create_server(apr_pool_t *p, server_rec *s);
void *wsgid_directives_merge_server(apr_pool_t *p, void *base, void *add);
void *wsgid_directives_create_dir(apr_pool_t *p, char *dir);
void *wsgid_directives_merge_dir(apr_pool_t *p, void *base, void *add);
/* Refuses mod_wsgi beside us. OK or an HTTP error, logged. */
int wsgid_directives_check_modules(server_rec *s);

/* translate_name hook. */
int wsgid_aliases_translate(request_rec *r);

/* Resolves one value that may be %{...}; NULL if its variable is not set. */
const char *wsgid_variables_resolve(request_rec *r, const char *value);
/* NULL, or why this value can never be resolved (for configtest). */
const char *wsgid_variables_check(apr_pool_t *p, const char *value);
/* Whether a value holds a variable that only a request can resolve. */
int wsgid_variables_is_variable(const char *value);

/* ---- listener.c: where sockets are made */

/* NULL, or why sockets must not be made in this prefix's directory. */
const char *wsgid_listener_check_directory(apr_pool_t *p, const char *prefix);

/* ---- slots.c: the memory of a slot, for requests */

/* The process that serves, its successor, and predecessors that finish what they run, which may
 * take as long as a request does. If all are taken, the next successor waits for one to leave. */
#define WSGID_SLOT_PROCESSES 4

typedef enum {
    WSGID_SLOT_DOWN = 0, /* no process, none coming */
    WSGID_SLOT_WAITING,  /* back-off: none before next_try */
    WSGID_SLOT_BOOTING,  /* a process is on its way: its backlog may be waited in */
    WSGID_SLOT_READY
} wsgid_slot_state_e;

const struct sockaddr_un *wsgid_slots_address(const wsgid_slot_t *slot);
/* What a request may expect of it now: the parent's word and the daemons' statistics pages put
 * together. Ready if any process of the slot is. */
wsgid_slot_state_e wsgid_slots_state(const wsgid_slot_t *slot);
/* The slot's processes at this moment, for messages: several while one takes over from the other; 0
 * for each that is none. */
typedef struct {
    pid_t pid[WSGID_SLOT_PROCESSES];
} wsgid_pids_t;
wsgid_pids_t wsgid_slots_pids(const wsgid_slot_t *slot);
/* "process 4711", "process 4711 or 4712" */
const char *wsgid_slots_processes(apr_pool_t *p, const wsgid_pids_t *pids);
/* When a WAITING slot's process is tried next, as wsgid_clock_now() counts. */
apr_time_t wsgid_slots_next_try(const wsgid_slot_t *slot);
/* Counters of requests in flight: one row per httpd child, so that a killed child leaks nothing. */
unsigned wsgid_slots_in_flight(const wsgid_slot_t *slot);
void wsgid_slots_enter(wsgid_slot_t *slot);
void wsgid_slots_leave(wsgid_slot_t *slot);
/* child_init: this process takes a row. */
void wsgid_slots_claim_row(server_rec *s);
/* child_status hook, in the parent: the row of a child that is gone is cleared. */
void wsgid_slots_child_status(pid_t pid, mpm_child_status status);

/* ---- supervisor.c: the daemons, in the parent */

/* post_config, after the groups are complete: slots, listeners, processes. OK or an HTTP error,
 * logged. */
int wsgid_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/* In the parent: looks at all that daemons say of themselves, and acts on it. For when the wake-up
 * pipe has been rung, and now and then. */
void wsgid_supervisor_look(void);
/* child_init: undoes in a child of httpd what only its parent needs. */
void wsgid_supervisor_child_init(apr_pool_t *pchild);
/* end_generation hook: removed groups may go when nobody can send to them any more. */
void wsgid_supervisor_end_generation(server_rec *s, ap_generation_t generation);
/* child_status hook: which configurations still have children. */
void wsgid_supervisor_child_status(server_rec *s, ap_generation_t generation,
                                   mpm_child_status status);

/* ---- request path, in a child of httpd */

/* Appends the environ block of a request: key\0value\0 ... */
typedef struct {
    char *bytes;
    apr_size_t length;
    apr_size_t room;
    apr_size_t line; /* where REQUEST_METHOD stands, with REQUEST_URI behind it */
    apr_pool_t *pool;
} wsgid_block_t;

apr_status_t wsgid_environ_build(request_rec *r, const wsgid_route_t *route, wsgid_block_t *block);

/* Hook: what access logs may show. */
int wsgid_access_log_log_transaction(request_rec *r);

/* Content handler. */
int wsgid_request_handler(request_rec *r);

/* ---- logs.c: lines about a request, levels */

/* What names this request in every log; made now if httpd has not made it yet. NULL: nobody makes
 * one. */
const char *wsgid_logs_request_id(request_rec *r);
/* What our lines about a request begin with: "[request ID] ", or "" if the server's ErrorLogFormat
 * shows the id anyway. */
const char *wsgid_logs_mark(request_rec *r);
/* The most verbose LogLevel for us anywhere in the configuration: httpd logs nothing beyond it,
 * whatever a request is for. */
int wsgid_logs_most_verbose(void);

#endif
