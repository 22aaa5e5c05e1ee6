"""Parameter tables and prior distributions."""
