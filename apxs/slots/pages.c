/*
 * The statistics pages of a slot: one for each process entry, written by the daemon in it. Those of
 * a block of slots are in one memfd, of which a daemon gets the offset of its page.
 *
 * Everything in a page is hostile input for httpd: daemons belong to other users. So what is read
 * is copied, with bounds; a page holds no pointer and no index; and its size is sealed. What a page
 * means is decided elsewhere.
 */
#include "slots/slot_memory.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- memory */

/* The size is sealed, so that a daemon cannot shrink the file while we have it mapped: that would
 * end us by SIGBUS. */
static int make_memfd(apr_size_t size)
{
    int fd = memfd_create("wsgid-statistics", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, (off_t)size) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Not even code that has taken over a child of httpd can write to a daemon's page: what is opened
 * for reading cannot be made writable again. */
apr_status_t wsgid_pages_open(wsgid_block_t *block)
{
    apr_size_t size = (apr_size_t)block->slots * WSGID_SLOT_PROCESSES * WSGID_PAGE_SIZE;
    char path[sizeof("/proc/self/fd/") + 11];
    apr_status_t status;
    int reader;

    block->memfd = make_memfd(size);
    if (block->memfd < 0) {
        return errno;
    }
    (void)apr_snprintf(path, sizeof(path), "/proc/self/fd/%d", block->memfd);
    reader = open(path, O_RDONLY | O_CLOEXEC);
    status = wsgid_map_shared(&block->mapping[WSGID_PAGES], size,
                              reader >= 0 ? reader : block->memfd);
    if (reader >= 0) {
        (void)close(reader);
    }
    return status;
}

int wsgid_pages_descriptor(const wsgid_slot_t *slot)
{
    return slot->block->memfd;
}

apr_size_t wsgid_pages_offset(const wsgid_slot_t *slot, int entry)
{
    return ((apr_size_t)slot->index * WSGID_SLOT_PROCESSES + (apr_size_t)entry) * WSGID_PAGE_SIZE;
}

static const wsgid_page_t *page_of(const wsgid_slot_t *slot, int entry)
{
    const char *pages = slot->block->mapping[WSGID_PAGES].at;

    return (const wsgid_page_t *)(pages + wsgid_pages_offset(slot, entry));
}

void wsgid_pages_close_descriptor(wsgid_block_t *block)
{
    if (block->memfd >= 0) {
        (void)close(block->memfd);
    }
    block->memfd = -1;
}

int wsgid_pages_clear(const wsgid_slot_t *slot, int entry)
{
    static const char zeros[WSGID_PAGE_SIZE];
    int fd = slot->block->memfd;
    off_t offset = (off_t)wsgid_pages_offset(slot, entry);

    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, WSGID_PAGE_SIZE) == 0
                   || pwrite(fd, zeros, sizeof(zeros), offset) == sizeof(zeros)
               ? 0
               : -1;
}

/* ---- reading */

int wsgid_pages_is_ready(const wsgid_slot_t *slot, int entry)
{
    return __atomic_load_n(&page_of(slot, entry)->state, __ATOMIC_ACQUIRE) == WSGID_STATE_READY;
}

void wsgid_pages_read(const wsgid_slot_t *slot, int entry, wsgid_page_t *copy)
{
    memcpy(copy, page_of(slot, entry), sizeof(*copy));
    if (copy->version != WSGID_PAGE_VERSION || !WSGID_IS_PAGE_STATE(copy->state)) {
        memset(copy, 0, sizeof(*copy));
        copy->state = WSGID_STATE_BOOTING;
    }
}

/* Whether this is "callable:/path" without control characters. */
static int is_script(const char *text)
{
    const char *colon = strchr(text, ':');
    int has_form = colon && colon > text && colon[1] == '/';

    for (; *text; text++) {
        if (apr_iscntrl(*text)) {
            return 0;
        }
    }
    return has_form;
}

apr_array_header_t *wsgid_pages_loaded_scripts(const wsgid_slot_t *slot, int entry, apr_pool_t *p)
{
    apr_size_t length = WSGID_PAGE_SCRIPTS_END - WSGID_PAGE_SCRIPTS;
    /* apr_pstrmemdup appends a NUL, so the last script is terminated, too */
    char *copy = apr_pstrmemdup(p, (const char *)page_of(slot, entry) + WSGID_PAGE_SCRIPTS, length);
    apr_array_header_t *scripts = apr_array_make(p, 4, sizeof(const char *));
    const char *end = copy + length;

    for (; copy < end && *copy; copy += strlen(copy) + 1) {
        if (is_script(copy)) {
            APR_ARRAY_PUSH(scripts, const char *) = copy;
        }
    }
    return scripts;
}

int wsgid_pages_copy_rows(const wsgid_slot_t *slot, int entry, wsgid_page_row_t *rows, int most)
{
    int count = most < WSGID_PAGE_MOST_ROWS ? most : WSGID_PAGE_MOST_ROWS;

    memcpy(rows, (const char *)page_of(slot, entry) + WSGID_PAGE_ROWS, count * sizeof(*rows));
    return count;
}
