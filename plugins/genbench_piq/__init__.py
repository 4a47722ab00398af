"""Metrics of piq as similarities; needs `genbench[piq]`."""
