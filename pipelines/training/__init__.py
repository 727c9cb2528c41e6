"""One run: built, looped, begun, ended and gone on with."""
