"""The application's script: loading, reloading, its logging, the development mode."""
