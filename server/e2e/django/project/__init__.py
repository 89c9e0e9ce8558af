"""A small real site: login, logout, a page that sends to a group."""
