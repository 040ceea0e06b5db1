"""The long parts of the course, so that the notebooks stay short.

Read the modules in this order: ``arithmetic``, ``datasets``, ``backbones``, ``codes``, ``training``,
``transfer``. Importing one has no side effect: nothing is downloaded, seeded or printed.
"""
