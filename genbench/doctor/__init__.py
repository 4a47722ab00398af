"""What `genbench doctor` checks, one file each topic; each is imported when its check runs."""
