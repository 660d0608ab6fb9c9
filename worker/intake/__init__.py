"""Events come in: CloudEvents, other systems' webhooks, signatures; checked whole, then recorded with what follows."""
