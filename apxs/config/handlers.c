/*
 * Whether a handler (AddHandler, SetHandler, AddType, a flag of RewriteRule ...) may lead to the
 * default group: then that group must be there.
 *
 * Only a request can tell for certain. The lines of the configuration are looked at as text, and a
 * group counts for the lines beside it and for the sections among them.
 */
#include "config/handlers.h"

#include "config/route.h"

static int is_named(const ap_directive_t *line, const char *name)
{
    return !ap_cstr_casecmp(line->directive, name);
}

static int sets_handler(const ap_directive_t *line)
{
    if (is_named(line, "WSGIHandlerScript")) {
        return !ap_strcasestr(line->args, "process-"); /* its option for the group */
    }
    return ap_strcasestr(line->args, WSGID_HANDLER) || ap_strcasestr(line->args, WSGID_HANDLER_WSGI)
           || ap_strcasestr(line->args, WSGID_HANDLER_TYPE);
}

static int allows_htaccess(const ap_directive_t *line)
{
    if (is_named(line, "AllowOverrideList")) {
        return ap_cstr_casecmp(line->args, "None");
    }
    return is_named(line, "AllowOverride")
           && (ap_strcasestr(line->args, "All") || ap_strcasestr(line->args, "FileInfo"));
}

static int names_group(const ap_directive_t *line)
{
    return is_named(line, "WSGIProcessName") || is_named(line, "WSGIProcessGroup");
}

static int is_without_group(const ap_directive_t *first)
{
    const ap_directive_t *line;

    for (line = first; line; line = line->next) {
        if (names_group(line)) {
            return 0;
        }
    }
    for (line = first; line; line = line->next) {
        if (sets_handler(line) || allows_htaccess(line) || is_without_group(line->first_child)) {
            return 1;
        }
    }
    return 0;
}

int wsgid_handlers_want_default(void)
{
    return is_without_group(ap_conftree);
}

static int is_anywhere(const ap_directive_t *first)
{
    const ap_directive_t *line;

    for (line = first; line; line = line->next) {
        if (is_named(line, "WSGIDispatchScript") || sets_handler(line)
            || is_named(line, "WSGIHandlerScript") || allows_htaccess(line)
            || is_anywhere(line->first_child)) {
            return 1;
        }
    }
    return 0;
}

int wsgid_handlers_are_anywhere(void)
{
    return is_anywhere(ap_conftree);
}
