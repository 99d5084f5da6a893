"""Who may do what: roles, permissions, tokens. No I/O; clock and keys are passed in."""
