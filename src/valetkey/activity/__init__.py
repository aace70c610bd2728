"""What happened: the audit log, last use."""
