/*
 * Which sections choose a group or a callable.
 *
 * The parent wants to know before the first request which script each group loads, and whether
 * anything leads to the default group. Only a request can tell for certain; so the answer is yes,
 * no, or perhaps.
 */
#include "config/sections.h"

#include "config/notices.h"

#include "apr_fnmatch.h"

typedef struct {
    wsgid_section_choice_e choice;
    const char *value;
    const server_rec *server;
    /* "<Directory" or "<Location"; NULL where the section may apply to anything */
    const char *directive;
    const char *path; /* wsgid_aliases_prefix() */
} section_t;

static struct {
    apr_pool_t *pool; /* pconf */
    apr_array_header_t *all;
} sections;

void wsgid_sections_reset(apr_pool_t *pconf)
{
    sections.pool = pconf;
    sections.all = apr_array_make(pconf, 8, sizeof(section_t));
}

/* Returns the <Directory> or <Location> of a directive if it is the only section around it and
 * names one path. */
static const ap_directive_t *plain_section(const cmd_parms *cmd)
{
    const ap_directive_t *section = cmd->directive->parent;
    const ap_directive_t *outer = section ? section->parent : NULL;

    if (!section || (outer && (ap_cstr_casecmp(outer->directive, "<VirtualHost") || outer->parent))
        || (ap_cstr_casecmp(section->directive, "<Directory")
            && ap_cstr_casecmp(section->directive, "<Location"))
        || strchr(section->args, '~') || apr_fnmatch_test(cmd->path)) {
        return NULL;
    }
    return section;
}

void wsgid_sections_add(const cmd_parms *cmd, wsgid_section_choice_e choice, const char *value)
{
    const ap_directive_t *plain;
    section_t *section;

    if (!cmd->path || wsgid_notices_is_htaccess(cmd)) {
        return;
    }
    plain = plain_section(cmd);
    section = apr_array_push(sections.all);
    section->choice = choice;
    section->value = value;
    section->server = cmd->server;
    section->directive = plain ? plain->directive : NULL;
    section->path = wsgid_aliases_prefix(sections.pool, cmd->path);
}

static wsgid_decides_e section_decides(const section_t *section, const wsgid_alias_t *alias)
{
    const char *covered = alias->target;

    if (!section->directive) {
        return WSGID_DECIDES_MAYBE;
    }
    if (!ap_cstr_casecmp(section->directive, "<Location")) {
        if (alias->expression) {
            return WSGID_DECIDES_MAYBE;
        }
        covered = alias->url;
    }
    return wsgid_aliases_is_below(covered, section->path) ? WSGID_DECIDES : WSGID_DECIDES_NOT;
}

static int applies(const section_t *section, wsgid_section_choice_e choice, const server_rec *s)
{
    return section->choice == choice && (section->server == s || !section->server->is_virtual);
}

wsgid_decides_e wsgid_sections_decide(wsgid_section_choice_e choice, const server_rec *s,
                                      const wsgid_alias_t *alias)
{
    wsgid_decides_e decides = WSGID_DECIDES_NOT;
    int i;

    for (i = 0; i < sections.all->nelts; i++) {
        const section_t *section = &APR_ARRAY_IDX(sections.all, i, section_t);

        if (applies(section, choice, s)) {
            wsgid_decides_e one = section_decides(section, alias);
            decides = one > decides ? one : decides;
        }
    }
    return decides;
}

/* If several sections may choose, they are asked whether they choose the same: which of them wins
 * does not matter then. */
int wsgid_sections_choose(wsgid_section_choice_e choice, const server_rec *s,
                          const wsgid_alias_t *alias, const char **value)
{
    const char *chosen = NULL;
    int i;

    for (i = 0; i < sections.all->nelts; i++) {
        const section_t *section = &APR_ARRAY_IDX(sections.all, i, section_t);

        if (!applies(section, choice, s) || section_decides(section, alias) == WSGID_DECIDES_NOT) {
            continue;
        }
        if (chosen && strcmp(chosen, section->value)) {
            return 0;
        }
        chosen = section->value;
    }
    switch (wsgid_sections_decide(choice, s, alias)) {
    case WSGID_DECIDES: *value = chosen; return 1;
    case WSGID_DECIDES_MAYBE: return 0;
    case WSGID_DECIDES_NOT: break;
    }
    return 1;
}
