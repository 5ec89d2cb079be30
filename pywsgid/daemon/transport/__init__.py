"""Requests in, frames out: the door to pywsgid/native."""
