/*
 * How many processes boot at a time, over all guardians: one for each processor, and one more. So
 * a start of many groups takes no longer than it has to, and leaves httpd its share.
 *
 * A place is a byte of a file in memory. A guardian locks it (fcntl) while its process boots, so
 * the kernel frees it even if the guardian is killed. A process that boots for long loses it: a
 * slow import, which may wait for something else, delays nobody. Children of httpd do not have the
 * file, so none can keep guardians from starting anything.
 */
#include "guardian/guardian.h"

#include <fcntl.h>
#include <unistd.h>

#define RETAINED_KEY WSGID_RETAINED("boot_places")
#define PATIENCE     apr_time_from_sec(5) /* a process has its place for so long */
/* A guardian that has found no place looks again after POLL, and later if there are many. */
#define POLL           apr_time_from_msec(10)
#define POLL_FOR_GROUP 1000 /* microseconds */
#define SPREAD         7919 /* microseconds between guardians whose numbers follow each other */

static long places;
static apr_time_t next_try; /* wsgid_clock_now(); 0: nobody needs a place */

apr_status_t wsgid_boot_places_open(void)
{
    places = sysconf(_SC_NPROCESSORS_ONLN) + 1;
    return wsgid_child_locks_make_file(RETAINED_KEY, "wsgid-boot");
}

int wsgid_boot_places_descriptor(void)
{
    return wsgid_child_locks_file(RETAINED_KEY);
}

static int set_lock(int place, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = place, .l_len = 1 };

    return fcntl(wsgid_boot_places_descriptor(), F_SETLK, &lock) == 0;
}

/* For the kernel, a lock of this guardian does not exclude another one of it. */
static int is_ours(int place)
{
    wsgid_process_t *process = NULL;

    while ((process = wsgid_roles_next_process(process))) {
        if (process->boot_place == place) {
            return 1;
        }
    }
    return 0;
}

/* Until the next try. Each guardian has another one: all have been woken at the same moment, and a
 * place that is given back shall not wait for the next one. */
static apr_interval_time_t until_next_try(void)
{
    apr_interval_time_t range = POLL + 2 * POLL_FOR_GROUP * wsgid_groups_all()->nelts;

    return POLL / 2 + ((apr_time_t)getpid() * SPREAD + wsgid_clock_now()) % range;
}

int wsgid_boot_places_take(void)
{
    int place;

    for (place = 1; place <= places; place++) {
        if (!is_ours(place) && set_lock(place, F_WRLCK)) {
            return place;
        }
    }
    next_try = wsgid_clock_now() + until_next_try();
    return 0;
}

void wsgid_boot_places_give_back(wsgid_process_t *process)
{
    if (process->boot_place) {
        (void)set_lock(process->boot_place, F_UNLCK);
    }
    process->boot_place = 0;
}

void wsgid_boot_places_review(wsgid_process_t *process)
{
    if (process->state != WSGID_STATE_BOOTING || wsgid_clock_now() >= process->born + PATIENCE) {
        wsgid_boot_places_give_back(process);
    }
}

apr_time_t wsgid_boot_places_end(const wsgid_process_t *process)
{
    return process->boot_place ? process->born + PATIENCE : 0;
}

void wsgid_boot_places_forget_try(void)
{
    next_try = 0;
}

apr_time_t wsgid_boot_places_next_try(void)
{
    return next_try;
}
