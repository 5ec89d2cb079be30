/*
 * What a send or a receive that has failed means. Knows errnos and outcomes, no sockets.
 */
#include "hotpath.h"

#include <errno.h>

int wsgid_outcome_is_gone(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == EBADF;
}

int wsgid_outcome_of_error(wsgid_endpoint_t *endpoint, int error)
{
    if (error == EPIPE) {
        return WSGID_GONE;
    }
    endpoint->facts[FACT_ERRNO] = error;
    return error == ETIMEDOUT ? WSGID_SILENT : WSGID_FAILED;
}
