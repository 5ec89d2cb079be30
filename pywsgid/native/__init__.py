"""The daemon's hot path in C, and how it is built."""
