"""A process of the cluster: what it is made of, how it is set, run and told to stop."""
