"""The process as a whole: life cycle, periodic tasks, watchdogs, statistics, control socket."""
