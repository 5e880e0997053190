"""Commands: the meaning of each word on the command line."""
