"""mod_wsgi's Python API: the modules `mod_wsgi` and `apache`. docs/reference/mod_wsgi-api.md."""
