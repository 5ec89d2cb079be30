/*
 * Which configurations are still in use: after a graceful restart, older children of httpd go on
 * sending requests as the older configuration says.
 *
 * The child_status hook counts the children of each generation. httpd's own end_generation hook is
 * not enough: httpd may run it before or after the last child_status. The counts are kept over
 * restarts; only the parent has them.
 */
#include "supervisor/supervisor.h"

#define RETAINED_KEY WSGID_RETAINED("generations")

typedef struct generation_t generation_t;
struct generation_t {
    generation_t *next;
    ap_generation_t number;
    apr_uint32_t configuration;
    int children; /* 0: the record is free */
};

typedef struct {
    generation_t *first;
} known_t;

static known_t *known(void)
{
    known_t *found = ap_retained_data_get(RETAINED_KEY);

    return found ? found : ap_retained_data_create(RETAINED_KEY, sizeof(*found));
}

static generation_t *find_generation(ap_generation_t number)
{
    generation_t *generation;

    for (generation = known()->first; generation; generation = generation->next) {
        if (generation->children > 0 && generation->number == number) {
            return generation;
        }
    }
    return NULL;
}

/* Reuses a free record, so that restarts need no more memory. */
static generation_t *add_generation(apr_pool_t *pool, ap_generation_t number,
                                    apr_uint32_t configuration)
{
    generation_t *generation = known()->first;

    while (generation && generation->children > 0) {
        generation = generation->next;
    }
    if (!generation) {
        generation = apr_pcalloc(pool, sizeof(*generation));
        generation->next = known()->first;
        known()->first = generation;
    }
    generation->number = number;
    generation->configuration = configuration;
    return generation;
}

void wsgid_generations_started(apr_pool_t *process_pool, ap_generation_t number,
                               apr_uint32_t configuration)
{
    generation_t *generation = find_generation(number);

    if (!generation) {
        generation = add_generation(process_pool, number, configuration);
    }
    generation->children++;
}

int wsgid_generations_exited(ap_generation_t number)
{
    generation_t *generation = find_generation(number);

    return generation && --generation->children == 0;
}

int wsgid_generations_live_up_to(apr_uint32_t configuration)
{
    const generation_t *generation;

    for (generation = known()->first; generation; generation = generation->next) {
        if (generation->children > 0 && generation->configuration <= configuration) {
            return 1;
        }
    }
    return 0;
}
