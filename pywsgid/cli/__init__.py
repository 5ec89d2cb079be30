"""The command line. It imports nothing of the daemon."""
