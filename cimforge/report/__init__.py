"""Reports: machine-readable records, and the pages made from them and from nothing else."""
