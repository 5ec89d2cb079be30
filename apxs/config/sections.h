/*
 * The sections (<Directory>, <Location> ...) that choose a group or a callable: whether one of them
 * decides for the requests of an alias, as far as that is known while the configuration is read.
 *
 * Private to config/.
 */
#ifndef WSGID_SECTIONS_H
#define WSGID_SECTIONS_H

#include "config/aliases.h"
#include "wsgid.h"

/* What a section chooses. */
typedef enum {
    WSGID_SECTION_GROUP,
    WSGID_SECTION_APPLICATION_GROUP,
    WSGID_SECTION_CALLABLE
} wsgid_section_choice_e;

/* Whether a section decides, in this order: the larger one wins. */
typedef enum { WSGID_DECIDES_NOT, WSGID_DECIDES_MAYBE, WSGID_DECIDES } wsgid_decides_e;

/* pre_config: forgets the sections of the previous reading. */
void wsgid_sections_reset(apr_pool_t *pconf);

/* Remembers the section of a directive that makes this choice. Ignores the server scope and
 * .htaccess files. */
void wsgid_sections_add(const cmd_parms *cmd, wsgid_section_choice_e choice, const char *value);

/* Whether some section makes this choice for the requests of an alias of server s. Once all of the
 * configuration has been read. */
wsgid_decides_e wsgid_sections_decide(wsgid_section_choice_e choice, const server_rec *s,
                                      const wsgid_alias_t *alias);

/* Sets *value to what sections choose for the requests of an alias, or leaves it as it is if none
 * does. Returns 0 if only a request can tell. */
int wsgid_sections_choose(wsgid_section_choice_e choice, const server_rec *s,
                          const wsgid_alias_t *alias, const char **value);

#endif
