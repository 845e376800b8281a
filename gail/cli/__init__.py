"""Floor 5: the command line, one file per verb. It composes and decides nothing."""
