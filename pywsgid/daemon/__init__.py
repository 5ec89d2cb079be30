"""The process that runs an application. It imports nothing of the command line."""
