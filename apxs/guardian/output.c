/*
 * What a group's daemons write: from a pipe into the ErrorLog.
 *
 * Descriptors 1 and 2 of a daemon, and of whatever it starts, are the write end of a pipe. The
 * guardian reads it and writes lines of its own: with the time, the level and the process, and
 * always with the group. So an application can neither change what is in the log, nor write a line
 * that looks like somebody else's.
 *
 * Rules:
 *
 *   - The parent makes the pipe, and keeps it as long as its configuration: what is in it when
 *     a guardian is killed, the next one reads.
 *   - The guardian never waits: not for the pipe, nor for the log (log_queue.c).
 *   - What is too much is dropped: what exceeds log-rate-limit, or the log's queue. If a line is,
 *     so are all that follow within a second; then one line counts them. If a process dies, the
 *     last of them are logged nevertheless: they may say why. That is limited, too: else a group
 *     could log without end by dying again and again.
 */
#include "guardian/guardian.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util_time.h"

#define INPUT_ROOM 65536                /* what a pipe usually holds */
#define BURST      apr_time_from_sec(8) /* for so long, log-rate-limit may be used in advance */
#define LAST_BURST apr_time_from_sec(8) /* and for so long in addition, by last lines */
#define GAP        apr_time_from_sec(1)
#define LAST_ROOM  ((apr_size_t)32 * 1024)
#define LINE_COST  100 /* bytes that a line of input gets in front, about */

/* Where a line comes from. */
typedef struct {
    char level_name[8];
    int level; /* APLOG_... */
    unsigned pid;
    unsigned tid;
} origin_t;

/* Static: this process is one guardian. */
static struct {
    const wsgid_group_t *group;
    apr_time_t used; /* wsgid_clock_now() up to which log-rate-limit has been used */
    /* A gap: lines are dropped. */
    apr_time_t gap_end; /* wsgid_clock_now(); 0: there is none */
    int is_log_slow;    /* why it has begun; else because of log-rate-limit */
    unsigned long dropped_lines;
    unsigned long dropped_bytes;
    apr_size_t added; /* bytes of the log */
} output;

/* The last lines of a gap, in two halves: when one is full, the older one is given up. */
typedef struct {
    char text[LAST_ROOM];
    apr_size_t length;
    unsigned long lines;
} last_lines_t;

static last_lines_t last_lines[2];
static int last_half; /* the newer one */

static char input[INPUT_ROOM];
static apr_size_t input_length; /* of the line that is not finished yet */

/* ---- the pipe, in the parent */

void wsgid_output_close(wsgid_group_t *group)
{
    int i;

    for (i = 0; i < 2; i++) {
        if (group->output[i] > 0) {
            (void)close(group->output[i]);
        }
        group->output[i] = -1;
    }
}

static apr_status_t close_pipe(void *group)
{
    wsgid_output_close(group);
    return APR_SUCCESS;
}

/* Processes of the group open /dev/stderr with their Group's right, and guardians as the owner: so
 * these need no capability for it. The parent tries what each guardian will do. */
apr_status_t wsgid_output_open(apr_pool_t *p, wsgid_group_t *group)
{
    apr_status_t status;

    if (pipe2(group->output, O_CLOEXEC) != 0) {
        return errno;
    }
    apr_pool_cleanup_register(p, group, close_pipe, apr_pool_cleanup_null);
    if (fcntl(group->output[0], F_SETFL, O_NONBLOCK) != 0 || fchmod(group->output[1], 0220) != 0
        || (geteuid() == 0
            && fchown(group->output[1], (uid_t)-1, (gid_t)WSGID_NUMBER(group, GROUP)) != 0)) {
        return errno;
    }
    (void)close(group->output[1]);
    status = wsgid_output_open_to_write(group);
    (void)close(group->output[1]);
    group->output[1] = -1;
    return status;
}

apr_status_t wsgid_output_open_to_write(wsgid_group_t *group)
{
    char path[sizeof("/proc/self/fd/") + 11];

    (void)apr_snprintf(path, sizeof(path), "/proc/self/fd/%d", group->output[0]);
    group->output[1] = open(path, O_WRONLY | O_CLOEXEC);
    return group->output[1] < 0 ? errno : APR_SUCCESS;
}

/* ---- a line of the input */

/* Lines of the daemon's own (pywsgid/daemon/logs.py) say what they are. All others come from C
 * code and other programs, and have the level that is always logged. Returns the length of that
 * part. */
static apr_size_t parse_origin(const char *line, apr_size_t length, origin_t *origin)
{
    char head[64];
    int end = 0;

    apr_cpystrn(head, line, length < sizeof(head) ? length + 1 : sizeof(head));
    if (*head == WSGID_OUTPUT_MARK
        && sscanf(head + 1, "[wsgid:%7[a-z0-9]] [pid %10u:tid %10u]%n", origin->level_name,
                  &origin->pid, &origin->tid, &end)
               == 3
        && head[1 + end] == ' ' && !ap_parse_log_level(origin->level_name, &origin->level)) {
        return 1 + (apr_size_t)end + 1;
    }
    apr_cpystrn(origin->level_name, "notice", sizeof(origin->level_name));
    origin->level = APLOG_NOTICE;
    origin->pid = origin->tid = (unsigned)getpid();
    return 0;
}

/* What a line of the log begins with, as httpd writes it. */
static apr_size_t put_head(char *text, apr_size_t room, const origin_t *origin)
{
    char now[APR_CTIME_LEN + 8]; /* and ".123456" */
    int length = sizeof(now);

    if (!wsgid_log_queue_is_plain()) {
        return (apr_size_t)apr_snprintf(text, room, "[group %s] [process %u] ", output.group->label,
                                        origin->pid);
    }
    (void)ap_recent_ctime_ex(now, apr_time_now(), AP_CTIME_OPTION_USEC, &length);
    return (apr_size_t)apr_snprintf(text, room, "[%s] [wsgid:%s] [pid %u:tid %u] [group %s] ", now,
                                    origin->level_name, origin->pid, origin->tid,
                                    output.group->label);
}

/* The length of the character at `at` if it may be shown; 0 for a control character, and for what
 * is not UTF-8. */
static apr_size_t shown(const unsigned char *at, apr_size_t left)
{
    apr_size_t length = *at < 0x80   ? 1
                        : *at < 0xc2 ? 0
                        : *at < 0xe0 ? 2
                        : *at < 0xf0 ? 3
                        : *at < 0xf5 ? 4
                                     : 0;
    apr_size_t i;

    if (length > left || (*at < ' ' && *at != '\t') || *at == 0x7f
        || (*at == 0xc2 && length == 2 && at[1] < 0xa0)) {
        return 0;
    }
    for (i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* A line that is too long continues on the next one. */
static void write_line(const char *line, apr_size_t length)
{
    char text[WSGID_LOG_QUEUE_LINE];
    origin_t origin;
    apr_size_t at = parse_origin(line, length, &origin);
    apr_size_t begin = put_head(text, sizeof(text), &origin);
    apr_size_t end = begin;
    apr_size_t size;

    length -= length > at && line[length - 1] == '\r';
    for (; at < length; at += size ? size : 1) {
        if (end + sizeof("\\x00") > sizeof(text)) {
            output.added += wsgid_log_queue_add(text, end, origin.level);
            end = begin + (apr_size_t)apr_snprintf(text + begin, sizeof(text) - begin, "| ");
        }
        size = shown((const unsigned char *)line + at, length - at);
        memcpy(text + end, line + at, size);
        end += size ? size
                    : (apr_size_t)apr_snprintf(text + end, sizeof(text) - end, "\\x%02x",
                                               (unsigned char)line[at]);
    }
    output.added += wsgid_log_queue_add(text, end, origin.level);
}

/* ---- what is too much */

/* Counts the bytes that were added to the log, by the time for which log-rate-limit allows them. */
static void use(apr_time_t now, apr_size_t bytes)
{
    apr_int64_t limit = WSGID_NUMBER(output.group, LOG_RATE_LIMIT);

    output.used = output.used > now ? output.used : now;
    output.used += limit ? (apr_time_t)bytes * APR_USEC_PER_SEC / limit : 0;
}

static void begin_gap(apr_time_t now, int is_log_slow)
{
    output.gap_end = now + GAP;
    output.is_log_slow = is_log_slow;
}

/* Of the lines that are dropped, the last ones are kept: they may be a process's last words. */
static void drop_line(const char *line, apr_size_t length)
{
    last_lines_t *half = &last_lines[last_half];

    output.dropped_lines++;
    output.dropped_bytes += length;
    if (half->length + length + 1 + (half->lines + 1) * LINE_COST > LAST_ROOM) {
        last_half = !last_half;
        half = &last_lines[last_half];
        half->length = half->lines = 0;
    }
    if (length + 1 + LINE_COST <= LAST_ROOM) {
        memcpy(half->text + half->length, line, length);
        half->text[half->length + length] = '\n';
        half->length += length + 1;
        half->lines++;
    }
}

static void pass_line(const char *line, apr_size_t length)
{
    output.added = 0;
    write_line(line, length);
    use(wsgid_clock_now(), output.added);
}

static void pass_lines(const last_lines_t *half)
{
    const char *line = half->text;
    const char *end = half->text + half->length;

    while (line < end) {
        const char *feed = memchr(line, '\n', (apr_size_t)(end - line));

        pass_line(line, (apr_size_t)(feed - line));
        line = feed + 1;
    }
}

static void report_dropped(void)
{
    char line[512];

    apr_snprintf(line, sizeof(line),
                 "%c[wsgid:warn] [pid %d:tid %d] WSGID0122: group '%s': %lu lines of its output "
                 "(%lu bytes) are missing here, because %s",
                 WSGID_OUTPUT_MARK, getpid(), getpid(), output.group->label, output.dropped_lines,
                 output.dropped_bytes,
                 output.is_log_slow
                     ? "its ErrorLog has not taken them in time: check the program that reads it"
                     : "they exceed log-rate-limit=: let it log less, or raise the limit");
    write_line(line, strlen(line));
}

static void end_gap(apr_time_t now, int with_last_lines)
{
    int i;

    if (!wsgid_log_queue_has_room()) {
        output.gap_end = now + GAP;
        return;
    }
    for (i = 0; with_last_lines && i < 2; i++) {
        output.dropped_lines -= last_lines[i].lines;
        output.dropped_bytes -= last_lines[i].length - last_lines[i].lines; /* without their ends */
    }
    if (output.dropped_lines > 0) {
        report_dropped();
    }
    if (with_last_lines) {
        pass_lines(&last_lines[!last_half]);
        pass_lines(&last_lines[last_half]);
    }
    output.gap_end = 0;
    output.dropped_lines = output.dropped_bytes = 0;
    last_lines[0].length = last_lines[0].lines = 0;
    last_lines[1].length = last_lines[1].lines = 0;
}

static void take_line(const char *line, apr_size_t length)
{
    apr_time_t now = wsgid_clock_now();

    if (!output.gap_end && output.used - now > BURST) {
        begin_gap(now, 0);
    }
    if (!output.gap_end && !wsgid_log_queue_has_room()) {
        begin_gap(now, 1);
    }
    if (output.gap_end) {
        drop_line(line, length);
    }
    else {
        pass_line(line, length);
    }
}

/* ---- reading */

/* Where the line at `at` ends: at a line feed, or where a line of the daemon's own begins. NULL: it
 * is not finished. */
static const char *find_end(const char *at, const char *end)
{
    const char *feed = memchr(at, '\n', (apr_size_t)(end - at));
    const char *last = feed ? feed : end;
    const char *mark = last > at + 1
                           ? memchr(at + 1, WSGID_OUTPUT_MARK, (apr_size_t)(last - at) - 1)
                           : NULL;

    return mark ? mark : feed;
}

/* There will be no more of an unfinished line. */
static void finish_line(void)
{
    if (input_length > 0) {
        take_line(input, input_length);
    }
    input_length = 0;
}

static void split_input(void)
{
    const char *end = input + input_length;
    const char *at = input;
    const char *stop;

    while (at < end && (stop = find_end(at, end))) {
        take_line(at, (apr_size_t)(stop - at));
        at = *stop == '\n' ? stop + 1 : stop;
    }
    input_length = (apr_size_t)(end - at);
    memmove(input, at, input_length);
    if (input_length == sizeof(input)) {
        finish_line();
    }
}

static ssize_t read_input(void)
{
    ssize_t length = read(output.group->output[0], input + input_length,
                          sizeof(input) - input_length);

    if (length > 0) {
        input_length += (apr_size_t)length;
        split_input();
    }
    return length;
}

void wsgid_output_drain(void)
{
    int left = 0; /* other processes may go on writing */
    ssize_t length;

    wsgid_log_queue_poll();
    (void)ioctl(output.group->output[0], FIONREAD, &left);
    while (left > 0 && (length = read_input()) > 0) {
        left -= (int)length;
    }
    finish_line();
    if (output.gap_end && output.used - wsgid_clock_now() <= BURST + LAST_BURST) {
        end_gap(wsgid_clock_now(), 1);
    }
    wsgid_log_queue_flush();
}

/* ---- for the guardian's loop */

void wsgid_output_begin(const wsgid_group_t *group)
{
    output.group = group;
}

void wsgid_output_poll(void)
{
    apr_time_t now = wsgid_clock_now();

    wsgid_log_queue_poll();
    (void)read_input();
    if (output.gap_end && output.gap_end <= now) {
        end_gap(now, 0);
    }
    wsgid_log_queue_flush();
}

apr_time_t wsgid_output_next(void)
{
    return output.gap_end;
}

void wsgid_output_wait_for(struct pollfd ends[WSGID_OUTPUT_ENDS])
{
    ends[0] = (struct pollfd){ output.group->output[0], POLLIN, 0 };
    wsgid_log_queue_wait_for(ends + 1);
}

void wsgid_output_end(void)
{
    wsgid_output_drain();
    wsgid_log_queue_end();
}
