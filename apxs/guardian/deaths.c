/*
 * How the end of a process is described: exit codes and signals in words, the reason for the status
 * page, and the line in the log.
 */
#include "guardian/guardian.h"

#include <signal.h>
#include <sys/wait.h>

#define EXIT_OF_PYTHON   1 /* an exception that nothing caught */
#define EXIT_OF_WATCHDOG 1 /* faulthandler.dump_traceback_later(..., exit=True) */

wsgid_death_t wsgid_deaths_of_status(int status)
{
    wsgid_death_t death;

    if (WIFEXITED(status)) {
        death.code = CLD_EXITED;
        death.status = WEXITSTATUS(status);
    }
    else { /* waitpid() without WUNTRACED reports nothing else */
        death.code = WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED;
        death.status = WTERMSIG(status);
    }
    return death;
}

static int was_exit(wsgid_death_t death, int status)
{
    return death.code == CLD_EXITED && death.status == status;
}

static int was_signal(wsgid_death_t death)
{
    return death.code == CLD_KILLED || death.code == CLD_DUMPED;
}

/* Whether the process did what it was asked to: it left, or a signal that asks it to leave ended
 * it. Until Python handles SIGTERM, SIGHUP and SIGINT, they end the process. */
static int is_requested(wsgid_death_t death)
{
    return was_exit(death, 0)
           || (was_signal(death)
               && (death.status == SIGTERM || death.status == SIGHUP || death.status == SIGINT));
}

int wsgid_deaths_is_by_request_signal(wsgid_death_t death)
{
    return was_signal(death) && is_requested(death);
}

static const char *signal_name(apr_pool_t *p, int number)
{
    static const char *const names[] = {
        [SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",   [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",
        [SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",
        [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1", [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2",
        [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM", [SIGTERM] = "SIGTERM", [SIGXCPU] = "SIGXCPU",
        [SIGXFSZ] = "SIGXFSZ", [SIGSYS] = "SIGSYS"
    };

    if (number > 0 && number < (int)(sizeof(names) / sizeof(*names)) && names[number]) {
        return names[number];
    }
    return apr_psprintf(p, "%d", number);
}

/* Whether it was asked to leave and did so. */
static int has_left_as_asked(const wsgid_process_t *process, wsgid_death_t death)
{
    return is_requested(death)
           && (process->has_been_ready || process->state == WSGID_STATE_DRAINING
               || was_signal(death));
}

static const char *exit_meaning(int code)
{
    switch (code) {
    case WSGID_EXIT_PRIVILEGES:
        return " (it could not take over the user, directory or limits of its group: see above)";
    case WSGID_EXIT_EXEC: return " (the interpreter could not be executed: see above)";
    case WSGID_EXIT_CONFIGURATION: return " (its configuration is unusable: see above)";
    case WSGID_EXIT_LOAD:
        return " (the application could not be loaded, or its threads not started: see above)";
    case WSGID_EXIT_INTERPRETER:
        return " (the interpreter or the extension of pywsgid cannot be used: see above)";
    default: return NULL;
    }
}

/* The usual cause of an exit code that is not one of ours, or "" if nothing is wrong. */
static const char *foreign_exit_meaning(const wsgid_process_t *process, wsgid_death_t death)
{
    if (has_left_as_asked(process, death)) {
        return "";
    }
    if (!process->has_been_ready && was_exit(death, EXIT_OF_PYTHON)) {
        return " (Python ended with an error: see above)";
    }
    return process->has_been_ready
               ? " (the application, or a library that it uses, has called os._exit())"
               : " (the application has ended the process during its import, or python= names a "
                 "program that is not Python)";
}

/* The usual cause of a signal that nobody of ours sends. */
static const char *signal_meaning(wsgid_death_t death)
{
    switch (death.status) {
    case SIGKILL: return " (often the kernel, because memory ran out: see dmesg)";
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGILL:
        return " (usually an error in a C extension: the stack above shows which; update or "
               "replace it)";
    case SIGXCPU: return " (it used up its CPU time)";
    default: return "";
    }
}

/* faulthandler's exit code is not unique, but the page says when it was due to end the process. */
static int was_watchdog(const wsgid_process_t *process, wsgid_death_t death)
{
    return was_exit(death, EXIT_OF_WATCHDOG) && process->watchdog
           && (apr_uint64_t)apr_time_as_msec(wsgid_clock_now()) >= process->watchdog;
}

/* If a limit is too low, the kernel sends a signal or refuses memory, and nothing else names the
 * limit. " under memory-limit=1048576" or "". */
static const char *limits_of(apr_pool_t *p, const wsgid_group_t *group)
{
    static const wsgid_option_e options[] = { WSGID_OPT_CPU_TIME_LIMIT, WSGID_OPT_MEMORY_LIMIT,
                                              WSGID_OPT_VIRTUAL_MEMORY_LIMIT,
                                              WSGID_OPT_STACK_SIZE };
    const char *limits = "";
    size_t i;

    for (i = 0; group && i < sizeof(options) / sizeof(*options); i++) {
        const wsgid_value_t *value = &group->value[options[i]];

        if (value->number) {
            limits = apr_pstrcat(p, limits, *limits ? " " : " under ",
                                 wsgid_options_name(options[i]), "=", value->text, NULL);
        }
    }
    return limits;
}

/* The limits of the process, and whether they may be what ended it. */
static const char *describe_limits(apr_pool_t *p, const wsgid_process_t *process,
                                   wsgid_death_t death)
{
    const char *limits = limits_of(p, process->slot->group);
    int is_explained = was_watchdog(process, death)
                       || (death.code == CLD_EXITED && exit_meaning(death.status));

    return *limits && !is_explained ? apr_pstrcat(p, limits, ", which may be too low", NULL)
                                    : limits;
}

static const char *describe_exit(apr_pool_t *p, const wsgid_process_t *process, wsgid_death_t death)
{
    const char *meaning = exit_meaning(death.status);

    return apr_psprintf(p, "exit code %d%s", death.status,
                        meaning ? meaning : foreign_exit_meaning(process, death));
}

static const char *describe_death(apr_pool_t *p, const wsgid_process_t *process,
                                  wsgid_death_t death)
{
    if (was_watchdog(process, death)) {
        return process->has_been_ready
                   ? "ended by its watchdog, because no thread could run Python for "
                     "deadlock-timeout: an extension holds the GIL while it waits, and the stacks "
                     "above show where"
                   : "ended by its watchdog, because its import kept Python from running for "
                     "startup-timeout: an extension holds the GIL while it waits, and the stack "
                     "above shows where";
    }
    if (death.code == CLD_EXITED) {
        return describe_exit(p, process, death);
    }
    return apr_psprintf(p, "signal %s%s%s", signal_name(p, death.status),
                        death.code == CLD_DUMPED ? " (core dumped)" : "", signal_meaning(death));
}

/* Why it was asked to leave. */
static wsgid_reason_e reason_of_leaving(const wsgid_process_t *process)
{
    static const wsgid_reason_e of_replacement[] = {
        [WSGID_REPLACE_NONE] = WSGID_REASON_ASKED,
        [WSGID_REPLACE_ASKED] = WSGID_REASON_ASKED,
        [WSGID_REPLACE_CHANGED] = WSGID_REASON_CHANGED,
        [WSGID_REPLACE_REQUESTS] = WSGID_REASON_REQUESTS,
        [WSGID_REPLACE_INTERVAL] = WSGID_REASON_INTERVAL,
        [WSGID_REPLACE_INACTIVITY] = WSGID_REASON_INACTIVITY,
        [WSGID_REPLACE_MEMORY] = WSGID_REASON_MEMORY,
        [WSGID_REPLACE_STUCK] = WSGID_REASON_STUCK,
        [WSGID_REPLACE_DESCRIPTORS] = WSGID_REASON_DESCRIPTORS
    };
    apr_uint32_t reason = process->granted_reason; /* from its page: any number */

    if (process->configuration < wsgid_ledger_wanted(process->slot->shared)) {
        return WSGID_REASON_HTTPD;
    }
    return reason < sizeof(of_replacement) / sizeof(*of_replacement) ? of_replacement[reason]
                                                                     : WSGID_REASON_ASKED;
}

static wsgid_reason_e reason_of_exit_code(int code)
{
    switch (code) {
    case WSGID_EXIT_LOAD: return WSGID_REASON_UNLOADABLE;
    case WSGID_EXIT_PRIVILEGES:
    case WSGID_EXIT_EXEC:
    case WSGID_EXIT_CONFIGURATION:
    case WSGID_EXIT_INTERPRETER: return WSGID_REASON_UNSTARTABLE;
    default: return WSGID_REASON_EXITED;
    }
}

wsgid_reason_e wsgid_deaths_reason(const wsgid_process_t *process, wsgid_death_t death)
{
    if (has_left_as_asked(process, death)) {
        return reason_of_leaving(process);
    }
    if (was_watchdog(process, death)) {
        return WSGID_REASON_DEADLOCK;
    }
    if (was_signal(death)) {
        return death.status == SIGKILL || is_requested(death) ? WSGID_REASON_KILLED
                                                              : WSGID_REASON_CRASHED;
    }
    return reason_of_exit_code(death.status);
}

/* It is an error unless the process was asked to leave. */
static void log_death(const wsgid_process_t *process, wsgid_death_t death, const char *name,
                      const char *how)
{
    server_rec *server = process->slot->server;

    if (has_left_as_asked(process, death)) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, server, "WSGID0051: %s left %s", name, how);
    }
    else if (process->has_been_ready) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "WSGID0052: %s died %s", name, how);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                     "WSGID0056: %s ended before it was ready, %s", name, how);
    }
}

/* Of a process that ends again and again, soon after it is ready, this many ends are logged one by
 * one; then one line a minute says how often it was. (Ends before that have a longer back-off.) */
#define LOGGED_ALIKE  5
#define LINE_INTERVAL apr_time_from_sec(60)

static int is_summed_up(wsgid_slot_record_t *slot, wsgid_death_t death)
{
    apr_time_t now = wsgid_clock_now();

    if (death.code != slot->last_death.code || death.status != slot->last_death.status
        || now - slot->last_died > LINE_INTERVAL) {
        slot->alike = 0;
    }
    slot->last_death = death;
    slot->last_died = now;
    if (++slot->alike > LOGGED_ALIKE && now < slot->next_line) {
        slot->unlogged++;
        return 1;
    }
    slot->next_line = now + LINE_INTERVAL;
    return 0;
}

/* "" if none. */
static const char *take_unlogged(apr_pool_t *p, wsgid_slot_record_t *slot)
{
    unsigned count = slot->unlogged;

    slot->unlogged = 0;
    return count ? apr_psprintf(p,
                                " (before this, the last line about this slot came again %u times)",
                                count)
                 : "";
}

void wsgid_deaths_report(apr_pool_t *p, const wsgid_process_t *process, wsgid_death_t death,
                         apr_interval_time_t life, const char *next)
{
    wsgid_slot_record_t *slot = process->slot;
    const char *name = apr_psprintf(p, "group '%s' slot %d: process %" APR_PID_T_FMT, slot->label,
                                    slot->index, process->pid);
    const char *limits = has_left_as_asked(process, death) ? ""
                                                           : describe_limits(p, process, death);
    const char *how;

    if (!has_left_as_asked(process, death) && process->has_been_ready
        && is_summed_up(slot, death)) {
        return;
    }
    how = apr_psprintf(p, "after %.3f s: %s%s; %s%s", (double)life / APR_USEC_PER_SEC,
                       describe_death(p, process, death), limits, next, take_unlogged(p, slot));
    log_death(process, death, name, how);
}
