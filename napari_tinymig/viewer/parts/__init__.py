"""What several panels are made of: one visual language, one way of working in the background."""
