"""Requests in, frames out: the only room that uses pywsgid/native."""
