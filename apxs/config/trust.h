/*
 * Notices about daemon groups that are less apart from others than they could be.
 */
#ifndef WSGID_TRUST_H
#define WSGID_TRUST_H

#include "wsgid.h"

/* post_config: one notice for each reason, with all groups that it is about. p: temporary; s: the
 * main server. */
void wsgid_trust_post_config(apr_pool_t *p, server_rec *s);

#endif
