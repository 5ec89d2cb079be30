/*
 * The name of the memory layout that is kept over restarts of httpd.
 *
 * httpd unloads this module at every restart and may load another version of it. Memory that is
 * kept over the restart is found by its key, so the key contains the layout's name. Raise the
 * letter whenever a structure that is kept changes, and whenever the statistics page
 * (process_abi.h) or the wire protocol (wire.h) does. A new version then neither misreads the old
 * memory nor talks to daemons that do not understand it.
 *
 * Kept structures are in: slots/slot_memory.h, slots/in_flight.c, slots/socket_directory.c,
 * guardian/guardian.h, guardian/slot_list.c, guardian/parent.c, guardian/child_locks.c.
 */
#ifndef WSGID_RETAINED_H
#define WSGID_RETAINED_H

#include "wsgid.h"

#define WSGID_LAYOUT         "layout-K"
#define WSGID_RETAINED(what) "mod_wsgid." WSGID_LAYOUT "." what

/* What is kept under this key; at first zeros. */
static inline void *wsgid_retained_find(const char *key, apr_size_t size)
{
    void *data = ap_retained_data_get(key);

    return data ? data : ap_retained_data_create(key, size);
}

#endif
