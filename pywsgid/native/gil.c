/*
 * The GIL is held through a call, until the call has to wait.
 *
 * Most calls take a few microseconds and wait for nothing. If they released the GIL, another thread
 * would often take it, and this one would have to sleep until it gets it back: two switches of
 * threads for nothing. So a call releases the GIL once, before it waits, and takes it back at its
 * end. Without a GIL the same calls tell Python that the thread waits.
 *
 * Rules: whoever takes the GIL back holds no lock of ours. Who has not released it waits for no
 * lock but the hub's, which nobody holds for long.
 */
#include "hotpath.h"

/* Of Python's stable ABI (ceval.h). Nothing else of Python.h is needed. */
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *state);

/* What this thread takes the GIL back with; NULL: it has not released it. A thread is in one call
 * at a time. */
static _Thread_local void *released;

int wsgid_gil_is_released(void)
{
    return released != NULL;
}

void wsgid_gil_release(void)
{
    if (!released) {
        released = PyEval_SaveThread();
    }
}

void wsgid_gil_take_back(void)
{
    void *state = released;

    if (state) {
        released = NULL;
        PyEval_RestoreThread(state);
    }
}
