"""PEP 3333: from a request to the application and back to a response."""
