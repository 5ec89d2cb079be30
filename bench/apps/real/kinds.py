"""What the views have in common, whatever the framework. bench/databases.py makes the tables."""

import hashlib
import json
import os
import random
import time

import urllib3

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATES = os.path.join(HERE, "templates")
with open(os.path.join(os.path.dirname(HERE), "settings.json")) as file:
    SETTINGS = json.load(file)

ROWS = 10000
MANY, UPDATED = 20, 5
MESSAGE = {"message": "Hello, world!", "numbers": list(range(20))}
ADDED_FORTUNE = "Added when the page was requested."
COMPUTE_SECONDS = 0.005
# 50 rows of 400 bytes in each of 100 blocks are 2 MB.
REPORT_BLOCKS, BLOCK_ROWS = 100, 50
# The work between two readings of the clock, which is a system call here: some 10 us.
STEPS = 300

service = urllib3.PoolManager(maxsize=64)


def random_ids(count):
    """Sorted, so that transactions lock rows in the same order."""
    return sorted(random.sample(range(1, ROWS + 1), count))


def random_value():
    return random.randint(1, ROWS)


def call_service():
    """The answer of another HTTP service, which takes 30 ms."""
    return service.request("GET", SETTINGS["service"]).data.decode()


def compute():
    """Uses 5 ms of CPU while it holds the GIL."""
    end = time.thread_time() + COMPUTE_SECONDS
    while time.thread_time() < end:
        for _ in range(STEPS):
            pass


def report():
    """A table of 2 MB, made while it is sent."""
    for block in range(REPORT_BLOCKS):
        first = block * BLOCK_ROWS
        rows = (
            f"{number:08},{number * 7919 % 10000:08},{'what a customer wrote':<380}\n"
            for number in range(first, first + BLOCK_ROWS)
        )
        yield "".join(rows).encode()


def is_password(password, stored):
    """Whether a password belongs to what is stored: "salt$hash". Few rounds, so that the log-in
    measures more than this function.
    """
    salt, _, expected = stored.partition("$")
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 1000).hex() == expected
