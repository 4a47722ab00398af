"""What `genbench new` writes: a plugin of one's own to start from, from templates. Imports no torch."""
