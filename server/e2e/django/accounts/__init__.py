"""A user model of the site's own, as many projects have."""
