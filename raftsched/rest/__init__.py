"""The REST API: HTTP and JSON in front of the rpcs, whose ``google.api.http`` options are the routes."""
