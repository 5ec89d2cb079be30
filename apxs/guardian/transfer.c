/*
 * How the sockets of slots go from one guardian to the next. httpd's parent has none of them: so it
 * needs no descriptors for them, and a guardian may create and remove slots at any time.
 *
 * A new guardian asks the guardians that have processes in the slot, at their door: a datagram
 * socket in the directory of the sockets, where only guardians get to. The answer holds the
 * listeners (SCM_RIGHTS). Old and new processes then share one backlog, and each request goes to
 * whoever is ready. A guardian that was killed, or is stopped, does not answer: then the new one
 * creates sockets of the same names (sockets.c), and httpd sends again what waited in the old
 * backlog.
 *
 * Administrators ask at the door, too, how many processes the pools have (pywsgid scale). Their
 * question is longer than a guardian's, and zeros fill it.
 */
#include "guardian/guardian.h"

#include <poll.h>
#include <unistd.h>

#include "http_main.h"

/* For the answers to all questions of a guardian. */
#define PATIENCE apr_time_from_sec(10)

typedef struct {
    int place; /* of the slot */
    int is_answer;
    ino_t file; /* of the socket for requests */
} message_t;

/* A message that has come. */
typedef struct {
    message_t text;
    char question[WSGID_SCALING_TEXT]; /* of an administrator; "": it is a guardian's */
    int sockets[WSGID_SOCKETS];        /* -1: none */
    struct sockaddr_un from;
    socklen_t from_length;
} letter_t;

typedef union {
    struct cmsghdr header; /* for its alignment */
    char room[CMSG_SPACE(sizeof(int) * WSGID_SOCKETS)];
} rights_t;

static int door = -1;
static apr_time_t deadline; /* wsgid_clock_now(); 0: nothing has been asked */

static const char *door_of(apr_pool_t *p, apr_uint32_t configuration)
{
    return wsgid_slot_list_door(p, wsgid_roles_next_slot(NULL)->group, configuration);
}

void wsgid_transfer_open_door(void)
{
    apr_pool_t *pool;
    const char *path;

    apr_pool_create(&pool, ap_server_conf->process->pool);
    path = door_of(pool, wsgid_roles_configuration());
    if (door < 0 || !wsgid_listener_file(path)) {
        if (door >= 0) {
            (void)close(door);
        }
        /* if it fails, the next guardian binds again */
        (void)wsgid_listener_open_door(path, geteuid(), &door);
    }
    apr_pool_destroy(pool);
}

int wsgid_transfer_descriptor(void)
{
    return door;
}

/* ---- messages */

static int send_message(const message_t *text, const int *sockets, const struct sockaddr_un *to,
                        socklen_t length)
{
    rights_t rights = { .room = { 0 } };
    struct iovec part = { (void *)text, sizeof(*text) };
    struct msghdr message = {
        .msg_name = (void *)to, .msg_namelen = length, .msg_iov = &part, .msg_iovlen = 1
    };

    if (sockets) {
        message.msg_control = &rights;
        message.msg_controllen = sizeof(rights);
        rights.header.cmsg_level = SOL_SOCKET;
        rights.header.cmsg_type = SCM_RIGHTS;
        rights.header.cmsg_len = CMSG_LEN(sizeof(int) * WSGID_SOCKETS);
        memcpy(CMSG_DATA(&rights.header), sockets, sizeof(int) * WSGID_SOCKETS);
    }
    return sendmsg(door, &message, MSG_DONTWAIT) == (ssize_t)sizeof(*text);
}

static void discard(const letter_t *letter)
{
    int i;

    for (i = 0; i < WSGID_SOCKETS; i++) {
        if (letter->sockets[i] >= 0) {
            (void)close(letter->sockets[i]);
        }
    }
}

/* Whether one had come. Descriptors that have come without its form are closed. */
static int receive(letter_t *letter)
{
    rights_t rights;
    struct iovec part = { letter->question, sizeof(letter->question) };
    struct msghdr message = { .msg_name = &letter->from,
                              .msg_namelen = sizeof(letter->from),
                              .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = &rights,
                              .msg_controllen = sizeof(rights) };
    ssize_t length = recvmsg(door, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = length >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

    letter->from_length = message.msg_namelen;
    memset(letter->sockets, -1, sizeof(letter->sockets));
    if (header && header->cmsg_type == SCM_RIGHTS) { /* there is room for no more than these */
        memcpy(letter->sockets, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    }
    letter->text = (message_t){ 0, 0, 0 };
    if (length == (ssize_t)sizeof(letter->text)) {
        memcpy(&letter->text, letter->question, sizeof(letter->text));
        *letter->question = '\0';
    }
    else if (length != (ssize_t)sizeof(letter->question) || letter->question[length - 1]) {
        discard(letter);
        return 0;
    }
    return 1;
}

/* ---- for administrators */

static void answer_question(const letter_t *letter, wsgid_transfer_advise_t *advise)
{
    char text[WSGID_SCALING_TEXT];
    apr_size_t length = advise(letter->question, text);

    (void)sendto(door, text, length, MSG_DONTWAIT, (const struct sockaddr *)&letter->from,
                 letter->from_length); /* nobody waits for long */
}

/* ---- the old guardian */

static void answer(const letter_t *letter)
{
    message_t text = { letter->text.place, 1, 0 };
    const wsgid_slot_record_t *slot = wsgid_roles_next_slot(NULL);

    while (slot && slot->place != text.place) {
        slot = wsgid_roles_next_slot(slot);
    }
    text.file = slot ? slot->file : 0;
    (void)send_message(&text, slot && slot->sockets[0] >= 0 ? slot->sockets : NULL, &letter->from,
                       letter->from_length); /* nobody waits for long */
}

void wsgid_transfer_answer(wsgid_transfer_advise_t *advise)
{
    letter_t letter;

    while (door >= 0 && receive(&letter)) {
        if (*letter.question) {
            answer_question(&letter, advise);
        }
        else if (!letter.text.is_answer) {
            answer(&letter);
        }
        discard(&letter); /* an answer that has come too late */
    }
}

/* ---- the new guardian */

static int wait_for_letter(letter_t *letter)
{
    struct pollfd end = { door, POLLIN, 0 };
    apr_interval_time_t left = deadline - wsgid_clock_now();

    return left > 0 && poll(&end, 1, (int)apr_time_as_msec(left) + 1) > 0 && receive(letter);
}

/* Whether the sockets are those to which the paths lead: not if others have been created since. */
static int is_right(const wsgid_slot_record_t *slot, const letter_t *letter)
{
    return letter->sockets[0] >= 0 && letter->sockets[1] >= 0
           && letter->text.file == wsgid_listener_file(slot->paths[WSGID_SOCKET_OF_REQUESTS]);
}

/* Whether the answer holds the sockets. */
static int await_answer(const wsgid_slot_record_t *slot, int sockets[WSGID_SOCKETS])
{
    letter_t letter;
    int is_answered = 0;

    while (!is_answered && wait_for_letter(&letter)) {
        if (!letter.text.is_answer && !*letter.question) { /* an administrator asks again */
            answer(&letter);                               /* to a still newer guardian */
        }
        is_answered = letter.text.is_answer && letter.text.place == slot->place;
        if (is_answered && is_right(slot, &letter)) {
            memcpy(sockets, letter.sockets, sizeof(letter.sockets));
            return 1;
        }
        discard(&letter);
    }
    return 0;
}

static int ask(const wsgid_slot_record_t *slot, apr_uint32_t configuration, apr_pool_t *p,
               int sockets[WSGID_SOCKETS])
{
    message_t text = { slot->place, 0, 0 };
    struct sockaddr_un to;

    return configuration && configuration != wsgid_roles_configuration()
           && wsgid_listener_set_address(&to, door_of(p, configuration)) == APR_SUCCESS
           && send_message(&text, NULL, &to, sizeof(to)) && await_answer(slot, sockets);
}

int wsgid_transfer_take(const wsgid_slot_record_t *slot, int sockets[WSGID_SOCKETS])
{
    apr_pool_t *pool;
    int entry;
    int is_taken = 0;

    if (!deadline) {
        deadline = wsgid_clock_now() + PATIENCE;
    }
    if (door < 0 || wsgid_clock_now() >= deadline) {
        return 0;
    }
    apr_pool_create(&pool, slot->pool);
    for (entry = 0; entry < WSGID_SLOT_PROCESSES && !is_taken; entry++) {
        is_taken = ask(slot, WSGID_OWNER_CONFIGURATION(wsgid_ledger_owner(slot->shared, entry)),
                       pool, sockets);
    }
    apr_pool_destroy(pool);
    return is_taken;
}
