"""How the runs of a suite are carried out: in processes of this machine, or on a Ray cluster."""
