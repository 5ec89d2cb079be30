/*
 * What is done when the process runs out of descriptors, in most cases because the application
 * leaks them. It then asks for its replacement (Python does), and until that serves, httpd's
 * connections get through:
 *
 *  - One descriptor is kept in reserve. It is given up for one more connection. The next connection
 *    that is closed becomes the reserve again in the same system call, so the application cannot
 *    come between.
 *  - hub.c closes idle connections, httpd's next request opens one again.
 *
 * Whether hardly a descriptor is left is found out early, so that the application seldom meets an
 * error and a replacement is ready in time.
 */
#include "hotpath.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT_INTERVAL  (2 * (int64_t)WSGID_MILLISECOND) /* three system calls */
#define REPORT_INTERVAL (60 * (int64_t)WSGID_SECOND)
/* Hardly any is left: so many, or this part of the limit if that is less. */
#define FEW      256
#define FEW_PART 8

void wsgid_descriptors_reserve(wsgid_hub_t *hub)
{
    if (hub->descriptors.reserve < 0) {
        hub->descriptors.reserve = fcntl(hub->wakeup, F_DUPFD_CLOEXEC, 0);
    }
}

void wsgid_descriptors_close(wsgid_hub_t *hub, int fd)
{
    if (hub->descriptors.reserve < 0 && !hub->draining && dup3(hub->wakeup, fd, O_CLOEXEC) == fd) {
        hub->descriptors.reserve = fd;
    }
    else {
        close(fd);
    }
}

int wsgid_descriptors_release(wsgid_hub_t *hub)
{
    int had = hub->descriptors.reserve >= 0;

    if (had) {
        close(hub->descriptors.reserve);
        hub->descriptors.reserve = -1;
    }
    return had;
}

/* How many descriptors the process may have. */
static int64_t limit(void)
{
    struct rlimit limits;

    return getrlimit(RLIMIT_NOFILE, &limits) == 0 && limits.rlim_cur < INT_MAX
               ? (int64_t)limits.rlim_cur
               : INT_MAX;
}

/* All descriptors below the lowest free one are in use. */
static int64_t lowest_free(const wsgid_hub_t *hub)
{
    int fd = fcntl(hub->wakeup, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        return INT_MAX;
    }
    close(fd);
    return fd;
}

int wsgid_descriptors_run_short(wsgid_hub_t *hub)
{
    int64_t now = wsgid_gate_now();
    int64_t most;

    if (hub->draining || now < hub->descriptors.counted_at + COUNT_INTERVAL) {
        return 0;
    }
    hub->descriptors.counted_at = now;
    most = limit();
    return lowest_free(hub) >= most - (most / FEW_PART < FEW ? most / FEW_PART : FEW)
           && hub->connections < most / 2;
}

int wsgid_descriptors_report(wsgid_endpoint_t *endpoint, int error)
{
    wsgid_descriptors_t *descriptors = &endpoint->hub->descriptors;
    int64_t now = wsgid_gate_now();

    if (descriptors->reported_at && now < descriptors->reported_at + REPORT_INTERVAL) {
        return 0;
    }
    descriptors->reported_at = now;
    endpoint->facts[FACT_ERRNO] = error;
    endpoint->facts[FACT_CONNECTIONS] = endpoint->hub->connections;
    endpoint->facts[FACT_LIMIT] = limit();
    return 1;
}
