/*
 * How many requests should run at once: found by trying, from what it does to finished requests.
 *
 * With a GIL, one thread at a time runs Python. For requests that only compute, one at once is
 * best: with more, threads wait for each other and switch. Requests that wait for a database do
 * best with a few: while one waits, another computes. No count of threads is right for all, and
 * what is right changes with the traffic and the machine.
 *
 * So the limit is compared with others while it matters, that is, while about as many requests run
 * as it allows: with four times as many, and with a quarter. Windows of time with the one and with
 * the other limit take turns, so that a change of the traffic or of the machine affects both alike.
 * Each pair of windows gives a difference; a comparison ends when the differences are clear, or
 * after PAIRS_MOST. The other becomes the limit if it is better. The longer nothing changes, the
 * longer the rest until the next two comparisons. If requests suddenly run or sleep twice as much,
 * or half as much, there is no more rest, and FIRST is the limit again unless they only compute. In
 * the same way it begins: with one at a time, and with FIRST as soon as requests are seen to wait.
 *
 * More at once are worth a comparison only if requests sleep and the process does not use a whole
 * processor: else the GIL is hardly ever free. Otherwise they are tried now and then.
 *
 * In a group with a process for each processor, a thread alone that often waits for a processor is
 * enough, unless it also waits for much else: processors are scarce, and more threads would only
 * get a larger share of them than other processes, and lose some of it by switching. A process that
 * gives up its share alone loses. So its own figures do not show what all processes of a group win
 * if all do.
 *
 * Better is, where requests queue up, that more of them finish; else, that they finish sooner.
 *
 * While the limit does not matter, nothing is compared, and it slowly follows what runs.
 *
 * The model is hill climbing as in .NET's thread pool (Hellerstein, Morrison, Eilebrecht:
 * Optimizing Concurrency Levels in the .NET ThreadPool, 2008). Everything here is arithmetic: no
 * clock, no lock.
 */
#include "hotpath.h"

#include <string.h>

#define FACTOR       4 /* between two levels */
#define FIRST        4 /* good for a database, and not far from the best for others */
#define PAIRS_LEAST  4
#define PAIRS_MOST   8
#define BETTER_LEAST 0.03 /* so much better must the other be: 0.01 is 1 percent */
#define NOISE_LEAST  0.02 /* no difference of two windows is known better than that */
#define CLIPPED      0.4  /* a larger difference counts as this much */
#define REST_FIRST   32   /* windows between two comparisons, */
#define REST_LAST    1024 /* doubled up to this many while nothing changes */
#define TREND_FAST   2    /* windows that an average goes back, about; */
#define TREND_SLOW   16   /* if the two differ by CHANGED, the traffic has changed */
#define CHANGED      2
#define FULL         0.75 /* of the limit run on average: it matters */
#define SLACK        0.6  /* of the level below run on average: that would be enough, */
#define SLACK_TIMES  2    /* so many windows in a row */
/* Requests that sleep less often only compute, as far as one can see. With more than one at a time,
 * they also sleep while they wait for the GIL. */
#define SLEEPS_ALONE    0.5
#define SLEEPS_TOGETHER 1.5
#define BUSY 0.85 /* of the time a thread is busy: another would seldom find the GIL free */
/* A thread alone that waits for a processor SCARCE of the time, and is busy ENOUGH of it, is
 * enough. */
#define SCARCE         0.15
#define ENOUGH         0.65
#define REST_UNLIKELY  8  /* windows of rest after one that promises nothing */
#define UNLIKELY_TRIES 16 /* a comparison that promises nothing is made once in so many times */

static double ratio(int64_t a, int64_t b)
{
    return b > 0 ? (double)a / (double)b : 0;
}

/* ---- how a figure changes */

static void follow_trend(wsgid_trend_t *trend, double value)
{
    if (trend->slow == 0) {
        trend->fast = trend->slow = value;
    }
    trend->fast += (value - trend->fast) / TREND_FAST;
    trend->slow += (value - trend->slow) / TREND_SLOW;
}

static int has_changed(const wsgid_trend_t *trend)
{
    return trend->fast > CHANGED * trend->slow || CHANGED * trend->fast < trend->slow;
}

/* Adds a window with the level, not with the other. Returns whether requests suddenly run or sleep
 * much more, or less. */
static int is_new_traffic(wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    follow_trend(&concurrency->runs, ratio(window->running_time, window->finished));
    follow_trend(&concurrency->sleeps, 1 + ratio(window->sleeps, window->finished));
    return has_changed(&concurrency->runs) || has_changed(&concurrency->sleeps);
}

/* ---- levels: 1, 4, 16, ... and the highest */

static int level_above(const wsgid_concurrency_t *concurrency)
{
    int above = concurrency->level * FACTOR;

    return above < concurrency->most ? above : concurrency->most;
}

static int level_below(const wsgid_concurrency_t *concurrency)
{
    int below = 1;

    while (below * FACTOR < concurrency->level) {
        below *= FACTOR;
    }
    return below;
}

void wsgid_concurrency_start(wsgid_concurrency_t *concurrency, int most, int crowded)
{
    memset(concurrency, 0, sizeof(*concurrency));
    concurrency->most = most;
    concurrency->crowded = crowded;
    concurrency->level = 1;
    concurrency->rest_next = REST_FIRST;
}

int wsgid_concurrency_limit(const wsgid_concurrency_t *concurrency)
{
    /* In a comparison, every second window belongs to the other. */
    return concurrency->windows % 2 == 1 ? concurrency->other : concurrency->level;
}

int wsgid_concurrency_asks_for_waits(const wsgid_concurrency_t *concurrency)
{
    return concurrency->crowded && concurrency->rest == 0
           && wsgid_concurrency_limit(concurrency) == 1;
}

/* ---- one comparison */

/* How much more `b` is than `a`, between -2 and 2; about their ratio - 1. */
static double difference(double a, double b)
{
    return a + b > 0 ? 2 * (b - a) / (a + b) : 0;
}

/* By how much the window of the other is better than that of the level. */
static double compare(const wsgid_window_t *level, const wsgid_window_t *other)
{
    if (level->queue_time > level->running_time) {
        return difference(ratio(level->finished, level->time), ratio(other->finished, other->time));
    }
    return difference(ratio(other->queue_time + other->running_time, other->finished),
                      ratio(level->queue_time + level->running_time, level->finished));
}

/* One strange window shall not decide. */
static double clip(double found)
{
    return found > CLIPPED ? CLIPPED : found < -CLIPPED ? -CLIPPED : found;
}

/* There is something new: no more rest. */
static void hurry(wsgid_concurrency_t *concurrency)
{
    concurrency->which = 0;
    concurrency->rest = 0;
    concurrency->rest_next = REST_FIRST;
    concurrency->slack = 0;
    concurrency->one_is_enough = 0;
    concurrency->runs = concurrency->sleeps = (wsgid_trend_t){ 0 };
}

static void settle(wsgid_concurrency_t *concurrency, int is_better)
{
    concurrency->windows = 0;
    if (is_better) {
        concurrency->level = concurrency->other;
        hurry(concurrency);
        return;
    }
    concurrency->which++;
    if (concurrency->which % 2 == 1 && concurrency->level > 1) {
        return; /* the one below is next, without a rest */
    }
    concurrency->rest = concurrency->rest_next;
    if (concurrency->rest_next < REST_LAST) {
        concurrency->rest_next *= 2;
    }
}

/* Whether one at a time has turned out to be enough in this comparison. */
static int is_one_enough(const wsgid_concurrency_t *concurrency)
{
    return concurrency->crowded && ratio(concurrency->alone_waits, concurrency->alone) >= SCARCE
           && ratio(concurrency->alone_busy, concurrency->alone) >= ENOUGH;
}

/* Ends the comparison if its differences are clear (twice their standard error), or if there have
 * been enough; then once their standard error must do. */
static void judge(wsgid_concurrency_t *concurrency)
{
    int pairs = concurrency->windows / 2;
    double mean = concurrency->sum / pairs;
    double variance = concurrency->squares / pairs - mean * mean;
    double least = NOISE_LEAST * NOISE_LEAST;
    double error = 4 * (variance > least ? variance : least) / (pairs - 1);
    double distance = (mean - BETTER_LEAST) * (mean - BETTER_LEAST);

    if (is_one_enough(concurrency)) {
        settle(concurrency, concurrency->other == 1);
        concurrency->one_is_enough = 1;
    }
    else if (distance > error) {
        settle(concurrency, mean > BETTER_LEAST);
    }
    else if (pairs == PAIRS_MOST) {
        settle(concurrency, mean > BETTER_LEAST && mean * mean > error / 4);
    }
}

/* How long threads used a processor or waited for one. */
static int64_t busy(const wsgid_window_t *window)
{
    return window->cpu_time + window->processor_wait;
}

/* A window of the comparison is over. */
static void go_on(wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    double found;

    if (wsgid_concurrency_limit(concurrency) == 1) {
        concurrency->alone += window->time;
        concurrency->alone_busy += busy(window);
        concurrency->alone_waits += window->processor_wait;
    }
    if (concurrency->windows % 2 == 0 && is_new_traffic(concurrency, window)) {
        concurrency->windows = 0;
        hurry(concurrency);
        return;
    }
    concurrency->windows++;
    if (concurrency->windows % 2 == 1) {
        concurrency->first = *window;
        return;
    }
    found = clip(compare(&concurrency->first, window));
    concurrency->sum += found;
    concurrency->squares += found * found;
    if (concurrency->windows >= 2 * PAIRS_LEAST) {
        judge(concurrency);
    }
}

/* ---- window after window */

/* How many requests ran on average. */
static double running(const wsgid_window_t *window)
{
    return ratio(window->running_time, window->time);
}

/* Whether about as many requests ran as a limit would allow: it matters. */
static int is_full(const wsgid_window_t *window, int limit)
{
    return running(window) >= FULL * limit;
}

static int does_matter(const wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    int is_upward = concurrency->windows > 0 && concurrency->other > concurrency->level;

    return is_full(window, is_upward ? concurrency->level : level_below(concurrency));
}

/* The limit does not matter. */
static void follow(wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    int below = level_below(concurrency);

    concurrency->windows = 0;
    if (concurrency->level == below || running(window) >= SLACK * below) {
        concurrency->slack = 0;
    }
    else if (++concurrency->slack >= SLACK_TIMES) {
        concurrency->level = below;
        hurry(concurrency);
    }
}

static int only_computes(const wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    return ratio(window->sleeps, window->finished)
           < (concurrency->level == 1 ? SLEEPS_ALONE : SLEEPS_TOGETHER);
}

void wsgid_concurrency_expect_waits(wsgid_concurrency_t *concurrency)
{
    if (!concurrency->one_is_enough && concurrency->level < FIRST
        && concurrency->level < concurrency->most) {
        concurrency->level = FIRST < concurrency->most ? FIRST : concurrency->most;
        concurrency->windows = 0;
        hurry(concurrency);
    }
}

static void rest(wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    concurrency->rest--;
    if (is_new_traffic(concurrency, window)) {
        hurry(concurrency);
    }
}

/* Whether the other level may be better: a higher one only if requests use the limit and sleep, and
 * the GIL is free at times. */
static int is_promising(const wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    return concurrency->other < concurrency->level
           || (is_full(window, concurrency->level) && !only_computes(concurrency, window)
               && ratio(busy(window), window->time) < BUSY);
}

static void begin_comparison(wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    concurrency->other = concurrency->which % 2 == 0 ? level_above(concurrency)
                                                     : level_below(concurrency);
    if (concurrency->other == concurrency->level) {
        concurrency->which++;
    }
    else if (!is_promising(concurrency, window) && ++concurrency->unlikely % UNLIKELY_TRIES != 0) {
        concurrency->which++;
        concurrency->rest = concurrency->level > 1 ? 0
                                                   : REST_UNLIKELY; /* 0: the one below is next */
    }
    else {
        concurrency->sum = concurrency->squares = 0;
        concurrency->alone = concurrency->alone_busy = concurrency->alone_waits = 0;
        go_on(concurrency, window);
    }
}

void wsgid_concurrency_learn(wsgid_concurrency_t *concurrency, const wsgid_window_t *window)
{
    if (!does_matter(concurrency, window)) {
        follow(concurrency, window);
        return;
    }
    concurrency->slack = 0;
    if (!concurrency->has_begun && !only_computes(concurrency, window)) {
        wsgid_concurrency_expect_waits(concurrency);
    }
    else if (concurrency->windows > 0) {
        go_on(concurrency, window);
    }
    else if (concurrency->rest > 0) {
        rest(concurrency, window);
    }
    else {
        begin_comparison(concurrency, window);
    }
    concurrency->has_begun = 1;
}
