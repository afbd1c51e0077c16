"""The comparison of the state tables of the nodes: any difference is found, and who is odd is told."""
