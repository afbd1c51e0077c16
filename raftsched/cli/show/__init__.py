"""What people and programs see: tables, documents, a few words."""
