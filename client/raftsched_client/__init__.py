"""Client library of raftsched."""
