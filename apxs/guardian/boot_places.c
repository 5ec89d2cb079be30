/*
 * How many processes boot at a time, over all guardians: one for each processor, and one more. So
 * a start of many groups takes no longer than it has to, and leaves httpd its share.
 *
 * A place is a byte of a file in memory. A guardian locks it (fcntl) while its process boots, so
 * the kernel frees it even if the guardian is killed. A process that boots for long loses it: a
 * slow import, which may wait for something else, delays nobody. Children of httpd do not have the
 * file, so none can keep guardians from starting anything.
 *
 * A slot that nobody serves goes first: while one waits for a place, its guardian shares a lock on
 * another byte, and successors of processes that serve take none.
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

#define WAITING 0 /* the byte that says so; places are numbered from 1 */

static long places;
static int has_missed;      /* in this poll a slot that nobody serves has found no place */
static int is_waiting;      /* since the poll before: we have the lock */
static apr_time_t next_try; /* wsgid_clock_now(); 0: nobody needs a place */
static apr_time_t missed;   /* wsgid_clock_now() since when is_waiting */

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
    return wsgid_child_locks_set(wsgid_boot_places_descriptor(), place, type) == APR_SUCCESS;
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
 * place that is given back shall not wait for the next one. Who has waited for long tries more
 * often. */
static apr_interval_time_t until_next_try(void)
{
    apr_interval_time_t waited = is_waiting ? wsgid_clock_now() - missed : 0;
    apr_interval_time_t range = POLL
                                + 2 * POLL_FOR_GROUP * wsgid_groups_all()->nelts
                                      / (1 + apr_time_sec(waited));

    return POLL / 2 + ((apr_time_t)getpid() * SPREAD + wsgid_clock_now()) % range;
}

int wsgid_boot_places_take(int is_served)
{
    int has_to_wait = is_served
                      && (is_waiting
                          || wsgid_child_locks_any(wsgid_boot_places_descriptor(), WAITING, 1));
    int place;

    for (place = 1; place <= places && !has_to_wait; place++) {
        if (!is_ours(place) && set_lock(place, F_WRLCK)) {
            return place;
        }
    }
    has_missed |= !is_served;
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

void wsgid_boot_places_begin_poll(void)
{
    next_try = 0;
    has_missed = 0;
}

void wsgid_boot_places_end_poll(void)
{
    if (is_waiting != has_missed) {
        is_waiting = has_missed;
        missed = wsgid_clock_now();
        (void)set_lock(WAITING, is_waiting ? F_RDLCK : F_UNLCK); /* else nobody lets it go first */
    }
}

apr_time_t wsgid_boot_places_next_try(void)
{
    return next_try;
}
