"""`pywsgid serve` and `pywsgid setup`: write a configuration for one application and run httpd."""
