"""How processes of ours reach each other."""
