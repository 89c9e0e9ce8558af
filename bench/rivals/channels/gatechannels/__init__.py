"""What a small site with Django Channels looks like: groups, a consumer, a view. The harness serves it with daphne or uvicorn."""
