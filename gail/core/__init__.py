"""Floor 0: the engine that trains every network, and what every floor above shares."""
