/*
 * The status page for people: the figures in status.html, and the section in mod_status's page.
 *
 * Style and behaviour are in status.html. This file has only structure: elements, classes, words.
 * Ids stay the same over refreshes, so that open details stay open. There are no style attributes,
 * because the Content-Security-Policy does not allow them.
 */
#include "status/status.h"
#include "status_page.h" /* made of status.html by setup.py */

const char *const wsgid_status_html_policy =
    "default-src 'none'; style-src 'sha256-" STATUS_PAGE_STYLE_HASH
    "'; script-src 'sha256-" STATUS_PAGE_SCRIPT_HASH "'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'";

#define THIN_SPACE "&#8239;"
#define MICRO      "&#181;"

/* ---- numbers and times in words */

static const char *html(apr_pool_t *p, const char *text)
{
    return ap_escape_html(p, text);
}

/* "1 234 567" */
static const char *number(apr_pool_t *p, apr_uint64_t value)
{
    const char *text = "";

    while (value >= 1000) {
        text = apr_psprintf(p, THIN_SPACE "%03d%s", (int)(value % 1000), text);
        value /= 1000;
    }
    return apr_psprintf(p, "%d%s", (int)value, text);
}

static const char *counted(apr_pool_t *p, apr_int64_t count, const char *what)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT " %s%s", count, what, count == 1 ? "" : "s");
}

/* "12 seconds", "5 minutes", "2 hours", "3 days" */
static const char *words(apr_pool_t *p, apr_interval_time_t time)
{
    static const struct {
        apr_int64_t seconds;
        const char *name;
    } units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" } };
    apr_int64_t seconds = apr_time_sec(time);
    apr_size_t i;

    for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (seconds >= 2 * units[i].seconds) {
            return counted(p, seconds / units[i].seconds, units[i].name);
        }
    }
    return counted(p, seconds, "second");
}

/* Two significant digits: "85 us", "1.2 ms", "12 ms", "3.4 s", "94 s", "2 minutes" */
#define LONG (120.0 * APR_USEC_PER_SEC)

static const char *duration(apr_pool_t *p, double microseconds)
{
    static const char *const units[] = { MICRO "s", "ms", "s" };
    int unit = 0;

    if (microseconds >= LONG) {
        return words(p, (apr_interval_time_t)microseconds);
    }
    while (unit < 2 && microseconds >= 999.5) {
        microseconds /= 1000;
        unit++;
    }
    return apr_psprintf(p, unit && microseconds < 9.95 ? "%.1f&nbsp;%s" : "%.0f&nbsp;%s",
                        microseconds, units[unit]);
}

static const char *bytes(apr_pool_t *p, apr_int64_t size)
{
    return size < 0 ? ""
           : size < ((apr_int64_t)10 << 30)
               ? apr_psprintf(p, "%" APR_INT64_T_FMT "&nbsp;MB", (size + (1 << 19)) >> 20)
               : apr_psprintf(p, "%" APR_INT64_T_FMT "&nbsp;GB", size >> 30);
}

/* ---- pieces */

static void put_bar(request_rec *r, int part, int whole)
{
    ap_rprintf(r,
               "<svg class=\"bar%s\" aria-hidden=\"true\">"
               "<rect width=\"%d%%\" height=\"6\" rx=\"3\"/></svg>",
               part >= whole && whole > 0 ? " full" : "", whole > 0 ? 100 * part / whole : 0);
}

/* In pixels: the width of a bucket, and the height of the fullest one and of one that is not empty.
 */
#define BUCKET_WIDTH 10
#define BAR_MOST     36
#define BAR_LEAST    2

static void put_histogram(request_rec *r, const apr_uint64_t *times)
{
    apr_uint64_t most = 1;
    int i;

    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        most = times[i] > most ? times[i] : most;
    }
    ap_rprintf(
        r,
        "<svg class=\"histogram\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" "
        "aria-label=\"number of requests by duration\">",
        WSGID_PAGE_BUCKETS * BUCKET_WIDTH, BAR_MOST);
    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        int height = BAR_LEAST + (int)(times[i] * (BAR_MOST - BAR_LEAST) / most);
        apr_uint64_t bound = wsgid_status_model_bound(i);

        if (!times[i]) {
            continue;
        }
        ap_rprintf(
            r, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"><title>%s %s: %s</title></rect>",
            i * BUCKET_WIDTH, BAR_MOST - height, BUCKET_WIDTH - 1, height,
            bound ? "below" : "above",
            duration(r->pool, (double)(bound ? bound : wsgid_status_model_bound(i - 1))),
            number(r->pool, times[i]));
    }
    ap_rputs("</svg><div class=\"axis\" aria-hidden=\"true\">"
             "<span>1 ms</span><span>30 ms</span><span>1 s</span><span>30 s</span></div>",
             r);
}

static void put_times(request_rec *r, const char *title, const apr_uint64_t *times)
{
    static const struct {
        double share;
        const char *name;
    } quantiles[] = { { 0.5, "half within" }, { 0.9, "90 %" }, { 0.99, "99 %" } };
    apr_size_t i;

    ap_rprintf(r, "<figure><h3>%s</h3>", title);
    if (!wsgid_status_model_count_times(times)) {
        ap_rputs("<p class=\"none\">no figures yet</p></figure>", r);
        return;
    }
    ap_rputs("<dl>", r);
    for (i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++) {
        ap_rprintf(r, "<div><dt>%s</dt><dd>%s</dd></div>", quantiles[i].name,
                   duration(r->pool, wsgid_status_model_quantile(times, quantiles[i].share)));
    }
    ap_rputs("</dl>", r);
    put_histogram(r, times);
    ap_rputs("</figure>", r);
}

/* ---- processes */

static void put_threads(request_rec *r, const wsgid_status_process_t *process, int slot)
{
    int idle = process->threads - process->busy;
    int i;

    ap_rputs("<div class=\"more\"><ul class=\"threads\">", r);
    for (i = 0; i < process->running->nelts; i++) {
        const wsgid_status_request_t *thread = &APR_ARRAY_IDX(process->running, i,
                                                              wsgid_status_request_t);
        ap_rprintf(r, "<li><b>%s</b><code>%s</code></li>",
                   duration(r->pool, (double)thread->elapsed),
                   *thread->line ? html(r->pool, thread->line) : "a request");
    }
    ap_rprintf(r, "</ul><p>%s idle, %s %s, slot %d", counted(r->pool, idle, "thread"),
               number(r->pool, process->counts.errors),
               process->counts.errors == 1 ? "error" : "errors", slot);
    if (process->python) {
        ap_rprintf(r, ", Python %s", html(r->pool, process->python));
    }
    ap_rputs("</p></div>", r);
}

static const char *class_of(wsgid_state_e state)
{
    return state == WSGID_STATE_READY ? "good" : "warn";
}

static const char *age(apr_pool_t *p, const wsgid_status_process_t *process)
{
    return apr_psprintf(p, "for %s", words(p, process->uptime));
}

static int has_started(const wsgid_status_process_t *process)
{
    return process->state == WSGID_STATE_READY || process->state == WSGID_STATE_DRAINING;
}

/* The system counts in hundredths of a second, so 0 is not "0 us". */
static const char *cpu_time(apr_pool_t *p, apr_int64_t milliseconds)
{
    return milliseconds ? duration(p, (double)milliseconds * 1000) : "0&nbsp;s";
}

static void put_process(request_rec *r, const wsgid_status_process_t *process, int slot)
{
    apr_pool_t *p = r->pool;

    ap_rprintf(r,
               "<details class=\"process\" id=\"p%" APR_PID_T_FMT
               "\"><summary class=\"row\"><span></span>"
               "<span>%" APR_PID_T_FMT
               "</span><span class=\"%s\">%s</span><span>%s</span><span class=\"busy\">",
               process->pid, process->pid, class_of(process->state),
               wsgid_status_model_process_state(process->state), age(p, process));
    if (has_started(process)) {
        put_bar(r, process->busy, process->threads);
        ap_rprintf(r, "%d of %d", process->busy, process->threads);
    }
    ap_rprintf(r,
               "</span><span>%s<span class=\"label\"> requests</span></span><span>%s</span><span>",
               number(p, process->counts.requests), bytes(p, process->memory));
    if (process->cpu >= 0) {
        ap_rprintf(r, "%s<span class=\"label\"> CPU</span>", cpu_time(p, process->cpu));
    }
    ap_rputs("</span></summary>", r);
    put_threads(r, process, slot);
    ap_rputs("</details>", r);
}

/* A slot without a process shows why it has none. */
static void put_empty_slot(request_rec *r, const wsgid_status_slot_t *slot)
{
    if (slot->state == WSGID_SLOT_IDLE) {
        ap_rputs("<p class=\"slot good\">no process: a request starts one</p>", r);
        return;
    }
    ap_rprintf(r, "<p class=\"slot bad\">no process: %s",
               wsgid_status_model_slot_state(slot->state));
    if (slot->state == WSGID_SLOT_WAITING) {
        ap_rprintf(r, ", next try in %s", words(r->pool, slot->next_try));
    }
    ap_rputs("</p>", r);
}

static void put_processes(request_rec *r, const wsgid_status_group_t *group)
{
    int i, k;

    ap_rputs(
        "<div class=\"processes\"><div class=\"row head\" aria-hidden=\"true\">"
        "<span></span><span>process</span><span>state</span><span></span><span>busy threads</span>"
        "<span>requests</span><span>memory</span><span>CPU</span></div>",
        r);
    for (i = 0; i < group->slots->nelts; i++) {
        const wsgid_status_slot_t *slot = &APR_ARRAY_IDX(group->slots, i, wsgid_status_slot_t);

        if (!slot->processes->nelts) {
            put_empty_slot(r, slot);
        }
        for (k = 0; k < slot->processes->nelts; k++) {
            put_process(r, &APR_ARRAY_IDX(slot->processes, k, wsgid_status_process_t), slot->index);
        }
    }
    ap_rputs("</div>", r);
}

/* ---- restarts */

/* Whether the reason is a failure. reasons.def lists the intended reasons first. */
static int is_bad(int reason)
{
    return reason >= WSGID_REASON_STUCK;
}

static const char *detail(apr_pool_t *p, wsgid_reason_e reason, const wsgid_ends_t *ends)
{
    switch (reason) {
    case WSGID_REASON_CRASHED:
    case WSGID_REASON_KILLED: return apr_psprintf(p, " (signal %d)", ends->detail);
    case WSGID_REASON_EXITED: return apr_psprintf(p, " (exit code %d)", ends->detail);
    default: return "";
    }
}

static void put_ends(request_rec *r, const wsgid_status_group_t *group, apr_time_t now)
{
    wsgid_reason_e last = wsgid_status_model_last_end(group->ends);
    apr_pool_t *p = r->pool;
    const char *between = "";
    apr_interval_time_t ago;
    int i;

    if (last == WSGID_REASONS) {
        return;
    }
    /* the clock may have been set back */
    ago = now > group->ends[last].last ? now - group->ends[last].last : 0;
    ap_rputs("<p class=\"ends\">Why processes ended: ", r);
    for (i = 0; i < WSGID_REASONS; i++) {
        if (group->ends[i].count) {
            ap_rprintf(r, "%s%s&nbsp;%s&times;", between, wsgid_totals_words(i),
                       number(p, group->ends[i].count));
            between = ", ";
        }
    }
    ap_rprintf(r, ". The last one <span class=\"%s\">%s ago: %s%s</span>.</p>",
               is_bad(last) ? "bad" : "", words(p, ago), wsgid_totals_words(last),
               detail(p, last, &group->ends[last]));
}

/* ---- groups */

static const char *health(const wsgid_status_group_t *group)
{
    int is_coming = group->ready || group->processes[WSGID_STATE_BOOTING];

    return group->ready >= group->scale.wanted ? "good" : is_coming ? "warn" : "bad";
}

static void put_name(request_rec *r, const wsgid_status_group_t *group)
{
    ap_rprintf(r, "<div class=\"name\"><h2>%s</h2><span class=\"pill %s\">",
               html(r->pool, group->name), health(group));
    ap_rprintf(r, "%d of %d ready</span><span class=\"user\">as user %s</span></div>", group->ready,
               group->scale.wanted, html(r->pool, group->user));
}

static void put_figures(request_rec *r, const wsgid_status_group_t *group, int index)
{
    apr_pool_t *p = r->pool;

    ap_rprintf(
        r, "<div class=\"figures\"><div><b>%d <small>of %d</small></b><span>threads busy</span>",
        group->busy, group->threads);
    put_bar(r, group->busy, group->threads);
    ap_rprintf(
        r,
        "</div><div><b>%d <small>of %d to %d</small></b><span>processes wanted, %d starting, "
        "%d idle</span></div>",
        group->scale.wanted, group->scale.least, group->scale.most, group->starting, group->idle);
    ap_rprintf(r, "<div><b%s>%s</b><span>waiting</span></div>",
               group->queued ? " class=\"warn\"" : "", number(p, group->queued));
    ap_rprintf(
        r,
        "<div><b>%s</b><span>requests</span><span id=\"r%d\" data-requests=\"%" APR_UINT64_T_FMT
        "\"></span></div>",
        number(p, group->counts.requests), index, group->counts.requests);
    ap_rprintf(r, "<div><b>%s</b><span>errors</span></div>", number(p, group->counts.errors));
    ap_rprintf(r, "<div><b>%s</b><span>longest now</span></div></div>",
               group->longest ? duration(p, (double)group->longest) : "&ndash;");
}

static void put_group(request_rec *r, const wsgid_status_group_t *group, int index, apr_time_t now)
{
    ap_rprintf(r, "<section class=\"group\" id=\"g%d\">", index);
    put_name(r, group);
    put_figures(r, group, index);
    ap_rputs("<div class=\"times\">", r);
    put_times(r, "Waiting for a thread", group->counts.queue_times);
    put_times(r, "In the application", group->counts.application_times);
    ap_rputs("</div>", r);
    put_processes(r, group);
    put_ends(r, group, now);
    ap_rputs("</section>\n", r);
}

/* If there are more groups than fit on a screen, the page begins with links to them. */
#define FEW_GROUPS 3

static void put_contents(request_rec *r, const apr_array_header_t *groups)
{
    int i;

    if (groups->nelts <= FEW_GROUPS) {
        return;
    }
    ap_rputs("<nav>", r);
    for (i = 0; i < groups->nelts; i++) {
        const wsgid_status_group_t *group = &APR_ARRAY_IDX(groups, i, wsgid_status_group_t);
        ap_rprintf(r, "<a class=\"pill %s\" href=\"#g%d\">%s</a> ", health(group), i,
                   html(r->pool, group->name));
    }
    ap_rputs("</nav>\n", r);
}

void wsgid_status_html_put(request_rec *r, const wsgid_status_t *status)
{
    char time[APR_RFC822_DATE_LEN];
    int i;

    (void)apr_rfc822_date(time, status->now);
    ap_rputs(STATUS_PAGE_TOP, r);
    ap_rprintf(r, "<main data-time=\"%s\"><p class=\"when\">%s, %s</p>\n",
               wsgid_status_model_seconds(r->pool, status->now),
               html(r->pool, r->server->server_hostname), time);
    put_contents(r, status->groups);
    for (i = 0; i < status->groups->nelts; i++) {
        put_group(r, &APR_ARRAY_IDX(status->groups, i, wsgid_status_group_t), i, status->now);
    }
    ap_rputs("</main>" STATUS_PAGE_BOTTOM, r);
}

/* ---- mod_status */

static void put_line(request_rec *r, const wsgid_status_group_t *group, const char *form)
{
    ap_rprintf(r, form, html(r->pool, group->name), html(r->pool, group->user), group->ready,
               group->scale.wanted, group->busy, group->threads, number(r->pool, group->queued),
               number(r->pool, group->counts.requests), number(r->pool, group->counts.errors),
               number(r->pool, wsgid_status_model_count_ends(group->ends)));
}

void wsgid_status_html_put_section(request_rec *r, const wsgid_status_t *status, int as_table)
{
    int i;

    ap_rputs("<hr />\n<h2>mod_wsgid</h2>\n", r);
    if (as_table) {
        ap_rputs("<table border=\"0\"><tr><th>Group</th><th>User</th><th>Processes ready</th>"
                 "<th>Threads busy</th><th>Waiting</th><th>Requests</th><th>Errors</th>"
                 "<th>Restarts</th></tr>\n",
                 r);
    }
    for (i = 0; i < status->groups->nelts; i++) {
        put_line(
            r, &APR_ARRAY_IDX(status->groups, i, wsgid_status_group_t),
            as_table
                ? "<tr><td><b>%s</b></td><td>%s</td><td>%d of %d</td><td>%d of %d</td><td>%s</td>"
                  "<td>%s</td><td>%s</td><td>%s</td></tr>\n"
                : "<p><b>%s</b> as user %s: %d of %d processes ready, %d of %d threads busy, "
                  "%s waiting, %s requests, %s errors, %s restarts</p>\n");
    }
    ap_rputs(as_table ? "</table>\n" : "", r);
}
