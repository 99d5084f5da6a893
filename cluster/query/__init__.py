"""KQL: text to answer over a pinned snapshot. See DESIGN.md beside this file."""
