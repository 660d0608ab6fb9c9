"""What carries messages out. Nothing but a transport knows a wire."""
