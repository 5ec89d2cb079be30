"""httpbin, unmodified."""

from httpbin import app as application  # noqa: F401
