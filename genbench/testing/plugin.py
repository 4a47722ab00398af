"""The pytest plugin. Imports no torch."""
