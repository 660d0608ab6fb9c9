"""What things are. Standard library only; imported by everybody, imports nobody."""
