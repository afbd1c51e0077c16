"""The rows of the state tables, the keys that they stand under, and the values they hold."""
