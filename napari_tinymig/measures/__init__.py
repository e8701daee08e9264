"""Numbers: clinical measures of one mask, agreement of two, and the table that they are written to."""
