/*
 * A guardian's ErrorLog, for which it never waits.
 *
 * If the log is no file but a program or a terminal, somebody may not read it. So it is written
 * through a file description of our own that does not block, and what it does not take at once
 * waits in a queue. The guardian's own messages, which httpd's function writes, get there through
 * a pipe of their own.
 *
 * If it is neither (syslog), httpd's function logs the lines.
 */
#include "guardian/guardian.h"
#include "spawn/spawn.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIPE_ROOM  65536                         /* what a pipe usually holds */
#define QUEUE_ROOM ((apr_size_t)8 * 1024 * 1024) /* takes memory only while it is used */
#define SPARE      ((apr_size_t)512 * 1024)
#define LAST_WAIT  1000 /* milliseconds, for a slow log when the guardian ends */

/* Static: this process is one guardian. */
static struct {
    server_rec *server;
    int log;          /* -1: httpd's function logs */
    int messages;     /* read end of the pipe for the guardian's own; -1: they go to the log */
    char *text;       /* lines that the log has not taken yet: */
    apr_size_t first; /* from here */
    apr_size_t end;   /* to here */
} queue;

/* ---- the queue */

/* A chunk of whole lines that the kernel writes as a whole. */
static apr_size_t next_chunk(void)
{
    const char *begin = queue.text + queue.first;
    apr_size_t length = queue.end - queue.first;
    const char *last = length > WSGID_LOG_QUEUE_LINE ? memrchr(begin, '\n', WSGID_LOG_QUEUE_LINE)
                                                     : NULL;

    return last ? (apr_size_t)(last - begin) + 1 : length;
}

/* If it fails, as on a full disk, nobody can be told. */
void wsgid_log_queue_flush(void)
{
    while (queue.first < queue.end) {
        ssize_t written = write(queue.log, queue.text + queue.first, next_chunk());

        if (written < 0 && errno == EAGAIN) {
            return;
        }
        queue.first = written < 0 ? queue.end : queue.first + (apr_size_t)written;
    }
    if (queue.end > PIPE_ROOM) {
        (void)madvise(queue.text, QUEUE_ROOM, MADV_DONTNEED);
    }
    queue.first = queue.end = 0;
}

int wsgid_log_queue_has_room(void)
{
    if (QUEUE_ROOM - queue.end < SPARE) {
        wsgid_log_queue_flush();
    }
    if (QUEUE_ROOM - queue.end < SPARE && queue.first > 0) {
        memmove(queue.text, queue.text + queue.first, queue.end - queue.first);
        queue.end -= queue.first;
        queue.first = 0;
    }
    return QUEUE_ROOM - queue.end >= SPARE;
}

void wsgid_log_queue_poll(void)
{
    ssize_t length;

    if (queue.messages >= 0 && wsgid_log_queue_has_room()) {
        length = read(queue.messages, queue.text + queue.end, PIPE_ROOM);
        queue.end += length > 0 ? (apr_size_t)length : 0;
    }
}

apr_size_t wsgid_log_queue_add(const char *line, apr_size_t length, int level)
{
    if (queue.log < 0) {
        ap_log_error(APLOG_MARK, level, 0, queue.server, "%.*s", (int)length, line);
        return length;
    }
    memcpy(queue.text + queue.end, line, length);
    queue.end += length;
    queue.text[queue.end++] = '\n';
    return length + 1;
}

/* ---- the log */

/* It is opened anew, because a flag of a file description is everybody's who has it. -1: this is
 * not needed, or not possible, as without /proc. */
static int open_without_waiting(int log)
{
    char path[64];
    struct stat status;

    if (log < 0 || fstat(log, &status) != 0 || S_ISREG(status.st_mode)) {
        return -1;
    }
    apr_snprintf(path, sizeof(path), "/proc/self/fd/%d", log);
    return open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* httpd's function writes into a pipe from now on. */
static void catch_messages(server_rec *server, apr_pool_t *p)
{
    apr_file_t *file;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0
        && apr_os_pipe_put(&file, &ends[1], p) == APR_SUCCESS
        && apr_file_pipe_timeout_set(file, 0) == APR_SUCCESS) {
        queue.messages = ends[0];
        server->error_log = file;
    }
}

apr_status_t wsgid_log_queue_begin(server_rec *s, apr_pool_t *p)
{
    int own;

    queue.text = mmap(NULL, QUEUE_ROOM, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (queue.text == MAP_FAILED) {
        return errno;
    }
    queue.server = s;
    queue.messages = -1;
    queue.log = wsgid_spawn_log_descriptor(s);
    own = open_without_waiting(queue.log);
    if (own >= 0) {
        queue.log = own;
        catch_messages(s, p);
    }
    return APR_SUCCESS;
}

int wsgid_log_queue_is_plain(void)
{
    return queue.log >= 0;
}

void wsgid_log_queue_wait_for(struct pollfd ends[WSGID_LOG_QUEUE_ENDS])
{
    ends[0] = (struct pollfd){ wsgid_log_queue_has_room() ? queue.messages : -1, POLLIN, 0 };
    ends[1] = (struct pollfd){ queue.first < queue.end ? queue.log : -1, POLLOUT, 0 };
}

void wsgid_log_queue_end(void)
{
    struct pollfd log = { queue.log, POLLOUT, 0 };

    wsgid_log_queue_poll();
    wsgid_log_queue_flush();
    while (queue.first < queue.end && poll(&log, 1, LAST_WAIT) > 0) {
        wsgid_log_queue_flush();
    }
}
