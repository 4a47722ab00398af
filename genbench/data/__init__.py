"""Packing, the cache of prepared data, and batches."""
