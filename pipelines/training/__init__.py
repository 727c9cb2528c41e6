"""One run: built, looped, begun, ended and continued."""
