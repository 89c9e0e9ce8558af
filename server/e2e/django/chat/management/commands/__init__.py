"""people: make and change users by orders on standard input."""
