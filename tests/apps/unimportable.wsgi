"""Cannot be loaded: the module that it imports does not exist."""

import a_module_that_does_not_exist  # noqa: F401
