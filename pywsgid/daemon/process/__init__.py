"""The process as a whole: its life cycle, limits, watchdogs, statistics page and control socket."""
