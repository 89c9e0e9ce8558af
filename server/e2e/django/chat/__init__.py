"""The part of the site that sends to groups."""
