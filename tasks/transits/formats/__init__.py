"""The files that light curves come in: what one file says, before anything is made of it."""
