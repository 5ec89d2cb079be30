"""What gevent (WSGID_PATCH=gevent) or eventlet replaces, used as applications do."""
import os

if os.environ.get("WSGID_PATCH") == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif os.environ.get("WSGID_PATCH") == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import logging
import queue
import sys
import threading
import time

lock = threading.Lock()
inside = 0
worst = 0


def sleep():
    time.sleep(0.2)
    return "slept"


def locked():
    global inside, worst
    with lock:
        inside += 1
        worst = max(worst, inside)
        time.sleep(0.01)
        inside -= 1
    return "alone" if worst == 1 else "together"


def threads():
    results = queue.Queue()

    def work(number):
        time.sleep(0.05)
        results.put(number)

    started = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return str(sum(results.get(timeout=1) for _ in started))


def log():
    logging.getLogger("shop").warning("a record of the application")
    print("a line of the application")
    return threading.current_thread().name


ACTIONS = {"/sleep": sleep, "/locked": locked, "/threads": threads, "/log": log}


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    answer = ACTIONS.get(environ["PATH_INFO"], lambda: "hello")() + body.decode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode(), b" %d" % os.getpid()]
