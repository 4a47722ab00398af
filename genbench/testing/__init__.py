"""The conformance kit: what a plugin promises, checked. Imports no torch."""
