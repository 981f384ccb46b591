"""One person's profile: how it is made from rest, what it holds."""
