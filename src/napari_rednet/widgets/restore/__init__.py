"""The windows that restore."""
