"""What httpd, the daemon and the command line must agree on."""
