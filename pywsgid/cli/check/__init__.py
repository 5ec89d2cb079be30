"""`pywsgid check`: reads a configuration of httpd and reports what will not work."""
