"""The cases, one module for each group; `registry.GROUPS` has their order."""
