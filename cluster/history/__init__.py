"""What happened on this node lately: the bounded logs behind the diagnostic commands."""
